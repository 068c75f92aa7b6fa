"""Sweeps that really train: one tiny point of every arm, and the claim of Spurious XOR at full size."""

import json

import pytest

from configs.sweeps import pid_point, spurious_xor
from synjax import train
from synjax.report import sweeps
from synjax.sweeps import file as sweep_file
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from tests.sweeps.xor_rows import expand


def run(rows, folder):
  journal = sweep_journal.Journal(folder)
  journal.declare(rows)
  return sweep_run.run(plan.group(rows), journal, train.train_and_evaluate)


# In the default run two arms, which share no program.
@pytest.mark.parametrize(
  ("module", "names"),
  [
    (spurious_xor, ("vanilla", "learned")),
    pytest.param(spurious_xor, None, marks=pytest.mark.slow),
    pytest.param(pid_point, None, marks=pytest.mark.slow),
  ],
)
def test_one_tiny_point_of_every_arm_trains_and_is_reported(module, names, tmp_path):
  arms = [arm for arm in module.ARMS if names is None or arm["arm"] in names]
  points = sweep_file.Hyper.sweep("data.strength", (0.5,))
  rest = points if module is spurious_xor else [pid_point.MIXTURE]
  overrides = sweep_file.Hyper.product([arms, rest, sweep_file.Hyper.sweep("seed", (0,))])
  rows = expand(overrides)
  end = run(rows, tmp_path)
  assert end.failed == 0
  found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
  assert {row["overrides"]["arm"] for row in found} == {arm["arm"] for arm in arms}
  assert all(0 <= row["last"]["test/label/accuracy"] <= 1 for row in found)
  table = sweeps.write_sweep_report(tmp_path, module.get_report()).read_text()
  assert all(arm["arm"] in table for arm in arms)
  assert len(list(tmp_path.glob("*.png"))) == 2


def test_at_strength_1_vanilla_falls_for_the_shortcut_and_the_oracle_does_not(tmp_path):
  arms = [arm for arm in spurious_xor.ARMS if arm["arm"] in ("vanilla", "oracle")]
  hyper = sweep_file.Hyper
  overrides = hyper.product(
    [arms, [{"data.num_test": 4000, "data.strength": 1.0}], hyper.sweep("seed", (0, 1))]
  )
  rows = expand(overrides, shrink=lambda make_config: make_config)
  run(rows, tmp_path)
  found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
  for row in found:
    accuracy = row["last"]["test/label/accuracy"]
    if row["overrides"]["arm"] == "vanilla":
      assert accuracy <= 0.55
    else:
      assert accuracy >= 0.99


def test_a_rerun_gives_the_same_numbers_bit_for_bit_inside_its_stack(tmp_path, caplog):
  points = sweep_file.Hyper.sweep("data.strength", (0.25, 0.5, 1.0))
  rows = expand(sweep_file.Hyper.product([spurious_xor.ARMS[1:2], points, [{"seed": 3}]]))
  assert run(rows, tmp_path).failed == 0
  journal = sweep_journal.Journal(tmp_path)
  before = journal.read()
  with caplog.at_level("INFO", "synjax"):
    again = [rows[1].id, rows[2].id]
    sweep_run.run(plan.group(rows), journal, train.train_and_evaluate, rerun_ids=again)
  after = journal.read()
  for row in rows:
    for which in ("best", "last"):  # as texts: NaN is equal
      assert json.dumps(after[row.id][which]) == json.dumps(before[row.id][which])
  assert [after[row.id]["time"] > before[row.id]["time"] for row in rows] == [False, True, True]
  assert caplog.text.count("the same numbers again") == 2
  assert {entry["group"] for entry in after.values()} == {before[rows[0].id]["group"]}
