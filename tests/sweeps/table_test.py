"""A table that is really trained: two methods and two seeds on own arrays, as the command does it."""

import json

import numpy as np
import pytest

from configs import defaults
from synjax import train
from synjax.report import sweeps
from synjax.sweeps import file as sweep_file
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from tests.sweeps.pretend import ROOT

SHORT = {"total_steps": 2, "eval_steps": 2, "checkpoint_steps": 2, "log_steps": 2, "batch_size": 8}


@pytest.fixture
def folder(tmp_path):
  rng = np.random.default_rng(0)
  root = tmp_path / "mine"
  root.mkdir()
  for split, count in {"train": 24, "validation": 12, "test": 12}.items():
    label = np.arange(count) % 2
    arrays = {name: rng.normal(size=(count, 3)) + label[:, None] for name in ("sensor", "text")}
    np.savez(root / f"{split}.npz", label=label, **arrays)
  return root


@pytest.mark.whole_run
def test_two_methods_and_two_seeds_are_trained_resumed_and_reported(folder, tmp_path):
  name = f"{ROOT}/configs/sweeps/table.py:{folder}:cross,supervised"
  flags = dict(flag.split("=", 1) for flag in sweep_file.load_flags(name))
  config = str(ROOT / flags["--config"])
  rows, description = sweep_file.load(name)
  typed = SHORT | {"num_seeds": 2}
  make = sweep_file.config_maker(config, typed)
  rows = plan.expand(
    make,
    rows,
    traced=train.traced_fields,
    inspect=sweep_inputs.Inputs(),
    untouched=sweep_file.config_maker(config, {}),
  )
  journal = sweep_journal.Journal(tmp_path / "run")
  journal.declare(rows, defaults.of)
  end = sweep_run.run(plan.group(rows), journal, train.train_and_evaluate)
  assert (end.groups, end.done, end.failed) == (2, 4, 0)
  again = sweep_run.run(plan.group(rows), journal, train.train_and_evaluate)
  assert again.total == 0  # nothing is left to do
  text = sweeps.write_sweep_report(tmp_path / "run", description).read_text()
  entries = [
    json.loads(line) for line in (tmp_path / "run" / "rows.jsonl").read_text().splitlines()
  ]
  for label, method in (("Cross", "cross"), ("Supervised", "supervised")):
    own = [e["best"] for e in entries if e["config"]["method"]["name"] == method]
    values = [100 * scores["test/label/macro_accuracy"] for scores in own]
    assert f"| {label} | 2 | {np.mean(values):.1f}" in text
  for line in ("chance", "majority class", "logistic regression on raw features (text alone)"):
    assert f"| {line} | - | " in text
  assert "untrained model of Cross" in text and (tmp_path / "run" / "methods.png").exists()
