"""What the rows of a sweep read: checked by row, hashed by content, loaded once."""

import json
from typing import NamedTuple

import numpy as np
import pytest

from configs import arrays
from configs.sweeps import pid_point
from synjax import data, train
from synjax.config import checks
from synjax.sweeps import file as sweep_file
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import plan
from tests.sweeps.xor_rows import expand
from tests.training.sources_test import write_tower

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
    (2, {"method.penalty": -1.0}, r"row 1 .*config\.method\.penalty: .* at least 0, found -1"),
    (6, {"method.corrupt_probability": 1.5}, r"row 1 .*corrupt_probability: .* at most 1, found 1"),
    (6, {"method.mask": "every"}, r"row 1 .*config\.method\.mask: expected one of"),
    (9, {"method.site": "latent"}, r"row 1 .*oracle needs site=input"),
    (0, {"method.mask": "random"}, r"row 1 .*method\.mask"),
  ],
)
def test_bad_values_are_named_with_their_row_before_anything_runs(arm, fields, message):
  row = {**pid_point.ARMS[arm], **pid_point.MIXTURE, **fields, "seed": 0}
  with pytest.raises(ValueError, match=message):
    expand([row])


def test_other_weights_of_a_tower_at_the_same_path_are_other_rows(tmp_path, monkeypatch):
  monkeypatch.setattr(checks, "check_config", lambda *arguments: None)  # these are no real weights
  config = arrays.get_config(f"supervised,{write_arrays(tmp_path / 'data', 0)}")
  with config.unlocked():
    config.model.modalities.a.encoder.weights = str(write_tower(tmp_path / "tower"))
  before = sweep_inputs.Inputs()(config)
  assert sweep_inputs.Inputs()(config) == before
  row = lambda: plan.row_id(json.loads(config.to_json()), sweep_inputs.Inputs()(config))  # noqa: E731
  found = row()
  with config.unlocked():
    config.model.modalities.a.encoder.weights = str(write_tower(tmp_path / "moved"))
  assert row() == found and found != plan.row_id(json.loads(config.to_json()), {})
  with config.unlocked():
    config.model.modalities.a.encoder.weights = str(tmp_path / "tower")
  write_tower(tmp_path / "tower", b"other")
  assert sweep_inputs.Inputs()(config) != before


def test_rows_whose_towers_bring_other_tokenizers_have_data_of_their_own(tmp_path, monkeypatch):
  monkeypatch.setattr(checks, "check_config", lambda *arguments: None)
  monkeypatch.setattr(
    data, "load", lambda config: Loaded(config.model.modalities.a.encoder.weights)
  )
  config = arrays.get_config(f"supervised,{write_arrays(tmp_path / 'data', 0)}")
  found, inspect = [], sweep_inputs.Inputs()
  for tokenizer in ("", "/elsewhere"):
    for name in ("one", "two"):
      with config.unlocked():
        config.data.tokenizer = tokenizer
        config.model.modalities.a.encoder.weights = str(write_tower(tmp_path / name))
      found.append(inspect(config)["data"])
  assert found == [str(tmp_path / name) for name in ("one", "two", "one", "one")]


class Loaded(NamedTuple):
  """A dataset that tells by which config it was loaded."""

  fingerprint: str
  modalities: tuple[str, ...] = ("a", "b")
