import dataclasses
import logging

import jax
import numpy as np
import pytest

from configs import hateful_memes
from synjax import data, train
from synjax.models import backbone, pretrained
from synjax.training import frozen_params
from tests import tiny, tower_folders

PART = "encoders_table"


def load_dataset(config):
  """The tiny dataset with images, of 16 pixels, in the place of its table."""
  known = tiny.load_dataset(config)

  def split(part):
    table = part.arrays["table"]
    image = np.broadcast_to(table[:, None, None, :3], (len(table), 16, 16, 3))
    return dataclasses.replace(part, arrays=part.arrays | {"table": np.array(image)})

  parts = {name: split(getattr(known, name)) for name in ("train", "probe", "val", "test")}
  return dataclasses.replace(known, **parts, informative=None)


def started(workdir, monkeypatch, encoder, **fields):
  """A run at its start, and its parameters there."""
  fields = {"total_steps": 2, "log_steps": 1, "eval_steps": 2, "checkpoint_steps": 2} | fields
  config = tiny.get_config("supervised", **fields | {"steps_per_call": 1, "model.width": 24})
  with config.unlocked():
    series = {"encoder": {"name": "gru", "features": 24}, "adapter": {"name": "sequence"}}
    config.model.modalities = {
      "table": {"encoder": encoder, "adapter": {"name": "sequence"}},
      "series": series,
    }
  with tiny.registered():
    monkeypatch.setitem(data.DATASETS, "tiny", load_dataset)
    run = train.Run(config, workdir, None)
    state = run.devices.fetch(run.state)
    return run, frozen_params.join(state.params, run.frozen_params.by_trial(len(run.seeds)))


@pytest.mark.whole_run
def test_a_frozen_tower_is_at_its_weights_once_for_all_seeds(golden, tmp_path, monkeypatch, caplog):
  folder = tower_folders.write_case(golden, tmp_path / "tower", "clip_vision")
  encoder = {"name": "clip_vision", "weights": str(folder)}
  fields = {"num_seeds": 2, "optim.frozen": (PART,)}
  with caplog.at_level(logging.WARNING, "synjax"):
    run, before = started(tmp_path / "run", monkeypatch, encoder, **fields)
  assert not caplog.records
  expected = pretrained.load(folder).variables["params"]
  expected = {name: leaf for name, leaf in expected.items() if name != "projection"}
  for trial in range(2):
    found = jax.tree.map(lambda x, trial=trial: x[trial], before[PART])
    jax.tree.map(np.testing.assert_array_equal, found, expected)
  assert set(run.frozen_params.shared) == {PART} and not run.frozen_params.own


def test_a_tower_without_weights_is_said_or_refused(tmp_path, monkeypatch, caplog):
  small = {
    "image_size": 16,
    "patch_size": 8,
    "num_layers": 1,
    "num_heads": 2,
    "hidden": 8,
    "width": 24,
  }
  encoder = {"name": "clip_vision", **small}
  with caplog.at_level(logging.WARNING, "synjax"):
    started(tmp_path / "clean", monkeypatch, encoder)
  assert "table.encoder.weights: not given: the tower clip_vision starts at random" in caplog.text
  with pytest.raises(ValueError, match=r"table.encoder.weights: expected the folder of the publi"):
    started(tmp_path / "paper", monkeypatch, encoder, protocol="paper")


def test_towers_are_looked_at_before_data_are_loaded(golden, tmp_path, monkeypatch):
  """Hundreds of thousands of posters may be read before a typo is found."""

  def loading(*_):
    raise AssertionError("data were loaded first")

  monkeypatch.setattr(data, "load", loading)
  folder = str(tower_folders.write_case(golden, tmp_path / "tower", "distilbert"))
  for weights, message in (
    ("", "expected the folder of the published weights under protocol=paper"),
    (str(tmp_path / "towre"), "towre"),
    (folder, "expected a folder of ClipVision, found DistilBert"),
  ):
    config = hateful_memes.get_config("supervised")
    config.protocol = "paper"
    config.model.modalities.image.encoder.weights = weights
    with pytest.raises(ValueError, match=message):
      train.Run(config, tmp_path / "run", None)


def test_a_tower_without_weights_has_the_width_of_its_kind():
  """Hateful Memes' fusion is 512 wide, which ClipVision's twelve heads do not divide."""
  config = hateful_memes.get_config("supervised")
  modules, _ = backbone.build_modules(config.model, ("image", "text"), None, "clean")
  assert [modules[name].width for name in ("image", "text")] == [768, 768]


def test_weights_that_do_not_fit_are_named_with_their_field(golden, tmp_path, monkeypatch):
  folder = str(tower_folders.write_case(golden, tmp_path / "tower", "distilbert"))
  where = r"config.model.modalities.table.encoder"
  for encoder, message in (
    (
      {"name": "clip_vision", "weights": folder},
      f"{where}.weights: .*ClipVision, found DistilBert",
    ),
    ({"name": "distilbert", "weights": folder, "hidden": 9}, f"{where}: expected no .'hidden'"),
    ({"name": "distilbert", "weights": folder}, f"{where}: DistilBert expects an input of token"),
    ({"name": "mlp", "weights": folder}, f"{where}.weights: expected a folder of MLP"),
  ):
    with pytest.raises(ValueError, match=message):
      started(tmp_path / "run", monkeypatch, encoder)
