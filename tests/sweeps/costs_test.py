"""A sweep over K that trains: what its journal keeps of time and memory."""

import json

import pytest

from configs.sweeps import num_views
from synjax import train
from synjax.report import sweeps
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from synjax.sweeps.file import Hyper
from tests import tiny


@pytest.fixture(autouse=True)
def tiny_dataset():
  with tiny.registered():
    yield


@pytest.mark.whole_run
def test_a_sweep_over_k_trains_and_journals_time_and_memory(tmp_path):
  def short(_, **fields):
    steps = dict.fromkeys(("total_steps", "eval_steps", "log_steps", "checkpoint_steps"), 4)
    return tiny.get_config(**steps, steps_per_call=2, **fields)

  rows = plan.expand(short, Hyper.sweep("method.num_views", (1,)), traced=train.traced_fields)
  journal = sweep_journal.Journal(tmp_path)
  journal.declare(rows)
  assert sweep_run.run(plan.group(rows), journal, train.train_and_evaluate).failed == 0
  one = json.loads((tmp_path / "rows.jsonl").read_text())
  assert one["chance"] == {"shared": 0.5, "synergy": 0.5}
  eight = train.Run(short(None, **{"method.num_views": 8}), tmp_path / "eight").restore()
  eight.advance()
  eight.checkpointer.close()
  assert 0 < one["program_bytes"] < eight.stepper.program_bytes
  # Of the group's seconds most are compilation, 4 steps are the rest.
  assert 0 < one["seconds_per_step"] < one["seconds"] / 8
  text = sweeps.write_sweep_report(tmp_path, num_views.get_report()).read_text()
  assert "shared (%)" in text
  assert "No values" not in text
