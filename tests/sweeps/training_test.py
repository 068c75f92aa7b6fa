"""Sweeps that really train: one tiny point of every arm, and the claim of Spurious XOR at full size."""

import json

import numpy as np
import pytest

from configs.sweeps import pid_point, pid_simplex, spurious_xor
from synjax import data, train
from synjax.report import sweeps
from synjax.sweeps import file as sweep_file
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run

TINY = {
  "spurious_xor": {"data.num_train": 24, "data.num_val": 12, "data.num_test": 40},
  "pid_xor": {"data.num_pool": 40, "data.num_val": 12, "data.num_test": 40},
}


def make_tiny(make_config):
  def make(argument):
    config = make_config(argument)
    config.update_from_flattened_dict(TINY[config.data.name])
    config.update({"batch_size": 16, "eval_batch_size": 40, "num_devices": 1, "steps_per_call": 2})
    config.update_from_flattened_dict({"total_epochs": 1.0, "eval_epochs": 1.0, "log_epochs": 1.0})
    config.model.trunk.hidden = config.model.unimodal_hidden = (6,)
    for modality in config.model.modalities.values():
      modality.encoder.widths = (5,)
    if "mask_steps" in config.method:
      config.method.mask_steps = 2
    config.select_metric = "val/label/accuracy"
    return config

  return make


def run(rows, folder):
  journal = sweep_journal.Journal(folder)
  journal.declare(rows)
  return sweep_run.run(plan.group(rows), journal, train.train_and_evaluate)


def expand(overrides, shrink=make_tiny):
  make_config = shrink(sweep_file.config_maker("configs/xor.py", {}))
  return plan.expand(
    make_config, overrides, traced=train.traced_fields, inspect=sweep_inputs.Inputs()
  )


@pytest.mark.parametrize("module", [spurious_xor, pid_point])
def test_one_tiny_point_of_every_arm_trains_and_is_reported(module, tmp_path):
  points = sweep_file.Hyper.sweep("data.strength", (0.5,))
  rest = points if module is spurious_xor else [pid_point.MIXTURE]
  overrides = sweep_file.Hyper.product([module.ARMS, rest, sweep_file.Hyper.sweep("seed", (0,))])
  rows = expand(overrides)
  end = run(rows, tmp_path)
  assert end.failed == 0
  found = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
  assert {row["overrides"]["arm"] for row in found} == {arm["arm"] for arm in module.ARMS}
  assert all(0 <= row["last"]["test/label/accuracy"] <= 1 for row in found)
  table = sweeps.write_sweep_report(tmp_path, module.get_report()).read_text()
  assert all(arm["arm"] in table for arm in module.ARMS)
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


SIZES = {"batch_size": 8, "eval_batch_size": 12, "num_devices": 1}


def write_arrays(folder, seed):
  rng = np.random.default_rng(seed)
  folder.mkdir()
  for split, count in {"train": 24, "validation": 12, "test": 12}.items():
    label = np.arange(count) % 2
    values = {name: rng.normal(size=(count, 3)) for name in ("a", "b")}
    np.savez(folder / f"{split}.npz", **values, label=label)
  return folder


def test_data_that_move_are_the_same_rows_and_data_that_change_are_others(tmp_path, monkeypatch):
  loads = []
  load = data.load
  monkeypatch.setattr(data, "load", lambda config: loads.append(config) or load(config))

  def ids(folder):
    make_config = sweep_file.config_maker(f"configs/arrays.py:supervised,{folder}", SIZES)
    overrides = sweep_file.Hyper.sweep("optim.lr", [k / 1000 for k in range(1, 9)])
    return [
      (row.id, row.program)
      for row in plan.expand(
        make_config, overrides, traced=train.traced_fields, inspect=sweep_inputs.Inputs()
      )
    ]

  first = write_arrays(tmp_path / "first", 0)
  before = ids(first)
  assert len(loads) == 1  # of 8 rows that read the same
  moved = first.rename(tmp_path / "moved")
  assert ids(moved) == before
  replaced = write_arrays(first, 1)  # at the old place
  assert not set(ids(replaced)) & set(before)
  assert len({program for _, program in ids(replaced)} | {p for _, p in before}) == 2


@pytest.mark.parametrize(
  ("arm", "fields", "message"),
  [
    (0, {"data.synergy": 0.5}, r"row 1 .*mixture of sources.*sum 1\.4"),
    (
      2,
      {"method.penalty": -1.0},
      r"row 1 .*config\.method\.penalty: expected .* at least 0",
    ),
    (
      6,
      {"method.corrupt_probability": 1.5},
      r"row 1 .*corrupt_probability: expected .* at most 1,",
    ),
    (6, {"method.mask": "every"}, r"row 1 .*config\.method\.mask: expected one of"),
    (9, {"method.site": "latent"}, r"row 1 .*oracle needs site=input"),
    (0, {"method.mask": "random"}, r"row 1 .*method\.mask"),
  ],
)
def test_bad_values_are_named_with_their_row_before_anything_runs(arm, fields, message):
  row = {**pid_point.ARMS[arm], **pid_point.MIXTURE, **fields, "seed": 0}
  with pytest.raises(ValueError, match=message):
    expand([row])


def test_the_simplex_has_the_published_number_of_points():
  rows = pid_simplex.get_hyper(sweep_file.Hyper)
  points = {tuple(v for k, v in row.items() if k.startswith("data.")) for row in rows}
  assert len(points) == 231
