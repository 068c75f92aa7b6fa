"""The rows of configs/sweeps/irony.py: 4 rates, methods and folds; one tiny fold really trained."""

import collections

import pytest

from configs import mosi
from configs.sweeps import irony
from synjax import train
from synjax.config import ignored_fields
from synjax.report import sweeps
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import judges, plan
from synjax.sweeps import run as sweep_run
from synjax.sweeps.file import Hyper, config_maker
from tests.sweeps.xor_rows import make_tiny

ARMS = ("Ensemble", "Vanilla", "D&R", "MMPareto", "ReconBoost", "MCR", "SynIB, random")


def fingerprint(config):
  """Stands for the data: another one for every rate and, of stored data, every fold."""
  return {"data": f"{config.data.irony} {config.data.irony_seed}"}


def expand(argument, make=None, only=None, inspect=fingerprint):
  config = irony.get_flags(argument)[0].removeprefix("--config=")
  rows = [row for row in irony.get_hyper(Hyper, argument) if only is None or only(row)]
  untouched = None if make else config_maker(config, {})
  make = make or config_maker(config, {"select_metric": "val/label/accuracy"})
  rows = plan.expand(make, rows, traced=train.traced_fields, inspect=inspect, untouched=untouched)
  return judges.attach(rows)


@pytest.mark.parametrize(
  "argument", ["cremad", "cremad:transformer", "mosi", "pid_xor", "pid_xor:transformer"]
)
def test_every_method_has_the_rates_that_leave_examples_as_they_are_and_three_folds(argument):
  rows = expand(argument)
  counts = collections.Counter(row.overrides["arm"] for row in rows)
  num_rates = 4 if argument.startswith("cremad") else 3  # of two classes, all would be at rate 2
  assert set(counts.values()) == {num_rates * 3} and set(counts) - set(ARMS) in (
    {"x1", "x2"},
    {"vision", "text"},
    {"audio", "video"},
  )
  seeds = {(row.config["data"]["irony"], row.config["seed"]) for row in rows}
  assert len(seeds) == num_rates * 3
  if argument.startswith("cremad"):
    folds = {(row.config["data"]["fold"], row.config["seed"]) for row in rows}
    assert folds == {("fold1", 109), ("fold2", 19), ("fold3", 337)}
  if argument == "mosi":  # stored: a fold is a state of the data too
    assert all(row.config["data"]["irony_seed"] == row.config["seed"] for row in rows)
  elif argument.startswith(irony.PID_XOR):
    assert {row.config["data"]["redundancy"] for row in rows} == {1.0}


def test_its_seed_and_modality_matter_beside_a_rate_alone():
  config = mosi.get_config("supervised")
  for field in ("data.irony_seed", "data.irony_modality"):
    assert "no example is changed" in ignored_fields.reason(config, field)
  config.data.irony = 0.5
  assert ignored_fields.reason(config, "data.irony_seed") is None


@pytest.mark.whole_run
def test_a_tiny_table_has_the_f1_of_irony_of_every_row(tmp_path):
  make = make_tiny(config_maker("configs/xor.py", {}))
  arms = ("x1", "x2", "Ensemble", "Vanilla")
  rows = expand(
    "pid_xor",
    make,
    lambda row: row["arm"] in arms and row["data.irony"] == 1.0 and row["seed"] != 19,
    sweep_inputs.Inputs(),
  )
  journal = sweep_journal.Journal(tmp_path)
  journal.declare(rows)
  end = sweep_run.run(plan.group(rows), journal, train.train_and_evaluate)
  assert (end.done, end.failed, end.groups) == (8, 0, 4)  # seeds of a method share a program
  for row in rows:
    best = journal.read()[row.id]["best"]
    assert 0 <= best["test/label/irony_f1"] <= 3 * best["test/label/macro_f1"] + 1e-9
    judged = "test/label/synergy_subset/size" in best
    assert judged == (row.overrides["arm"] in ("Ensemble", "Vanilla"))
  text = sweeps.write_sweep_report(tmp_path, irony.get_report("pid_xor")).read_text()
  assert "irony F1 (%)" in text and "| Vanilla | 1.0 | best |" in text
  assert (tmp_path / "irony_f1.png").exists()
