"""SynIB's Table 2 really trained, tiny: unimodal models, their mean, and a method on own arrays."""

import json

import numpy as np
import pytest

from configs.sweeps import synib_table2
from synjax import train
from synjax.report import sweeps
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import judges, plan
from synjax.sweeps import run as sweep_run
from synjax.sweeps.file import Hyper, config_maker

SHORT = {"total_steps": 2, "eval_steps": 2, "checkpoint_steps": 2, "log_steps": 2, "batch_size": 8}
ARMS = ("sensor", "text", "Ensemble", "Vanilla, tuned")


def write(folder):
  rng = np.random.default_rng(0)
  folder.mkdir()
  for split, count in {"train": 24, "validation": 12, "test": 40}.items():
    arrays = {name: rng.normal(size=(count, 3)) for name in ("sensor", "text")}
    np.savez(folder / f"{split}.npz", label=np.arange(count) % 2, **arrays)


@pytest.mark.whole_run
def test_the_table_is_trained_scored_on_the_subset_chosen_and_reported(tmp_path):
  write(tmp_path / "mine")
  argument = f"{tmp_path / 'mine'}:2"
  config = synib_table2.get_flags(argument)[0].removeprefix("--config=")
  typed = SHORT | {"num_seeds": 2, "select_metric": "val/label/accuracy"}
  rows = [row for row in synib_table2.get_hyper(Hyper, argument) if row["arm"] in ARMS]
  untouched = config_maker(config, {})
  rows = plan.expand(
    config_maker(config, typed),
    [row | {"evaluators": ("classification", "predictions")} for row in rows],
    traced=train.traced_fields,
    inspect=sweep_inputs.Inputs(),
    untouched=untouched,
  )
  rows = judges.attach(rows)
  journal = sweep_journal.Journal(tmp_path / "run")
  journal.declare(rows)
  end = sweep_run.run(plan.group(rows), journal, train.train_and_evaluate)
  assert (end.done, end.failed) == (10, 0)
  entries = journal.read()
  sizes = {}
  for row in rows:
    best = entries[row.id]["best"]
    if row.overrides["arm"] in ("sensor", "text"):
      continue
    size = best["test/label/synergy_subset/size"]
    assert sizes.setdefault(row.trial["seed"], size) == size  # the same models judge every row
    if row.overrides["arm"] == "Ensemble" and size:
      assert best["test/label/synergy_subset/accuracy"] == 0  # of two classes, by construction
      assert best["test/label/synergy_subset/flipped"] == 1
  text = sweeps.write_sweep_report(tmp_path / "run", synib_table2.get_report(argument)).read_text()
  assert "| Vanilla, tuned | 2 | 2 |" in text and "## Configurations" in text
  assert "## Synergy subset" in text and "| Ensemble | 2 | 1 |" in text
  journaled = (tmp_path / "run" / "rows.jsonl").read_text().splitlines()
  order = [json.loads(line)["overrides"]["arm"] for line in journaled]
  assert set(order[:4]) == {"sensor", "text"}  # first
