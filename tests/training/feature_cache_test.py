"""Cached features: the same run as with the tower in every step, and a cache that knows what it is of."""

import dataclasses
import shutil

import jax
import numpy as np
import pytest

from synjax import data, train
from synjax.data import fields, inputs, pipeline
from synjax.training import feature_cache, frozen_params
from tests import tiny, tower_folders
from tests.training.tower_weights_test import load_dataset


@pytest.fixture(scope="module")
def tower(golden, tmp_path_factory):
  return tower_folders.write_case(golden, tmp_path_factory.mktemp("tower"), "clip_vision")


def make_config(tower, cache, method="supervised", **more):
  fields_ = {"total_steps": 2, "log_steps": 1, "eval_steps": 2, "checkpoint_steps": 2}
  fields_ |= {"steps_per_call": 1, "model.width": 24, "optim.frozen": ("encoders_table",)}
  fields_ |= {"data.cache_features": True}
  config = tiny.get_config(method, **fields_ | more)
  with config.unlocked():
    config.data.cache_dir = str(cache)
    encoder = {"name": "clip_vision", "weights": str(tower)}
    config.model.modalities = {
      "table": {"encoder": encoder, "adapter": {"name": "sequence"}},
      "series": {"encoder": {"name": "gru", "features": 24}, "adapter": {"name": "sequence"}},
    }
  return config


def trained(config, workdir):
  """(run after its steps, its parameters, its scores on validation)."""
  run = train.Run(config, workdir).restore()
  while not run.finished():
    run.advance()
  scores = run.evaluate()
  run.checkpointer.close()
  state = run.devices.fetch(run.state)
  return run, frozen_params.join(state.params, run.frozen_params.by_trial(1)), scores


def test_a_run_on_cached_features_is_the_run_with_the_tower(tower, tmp_path, monkeypatch):
  monkeypatch.setitem(data.DATASETS, "tiny", load_dataset)
  config = make_config(tower, tmp_path / "cache")
  run, params, scores = trained(config, tmp_path / "cached")
  batch = run.dataset.train.read(np.arange(2))
  assert batch["table"].shape == (2, 17, 24) and fields.is_encoded(batch, "table")
  shape = inputs.describe(run.stored)["modalities"][0]["shape"]
  assert shape == [16, 16, 3]  # what `synjax.load` asks new examples for
  _, plain, expected = trained(
    make_config(tower, tmp_path / "cache", **{"data.cache_features": False}), tmp_path / "plain"
  )
  assert jax.tree.structure(params) == jax.tree.structure(plain)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), params, plain)
  for name, value in expected.items():
    np.testing.assert_allclose(scores[name], value, atol=1e-5, err_msg=name)

  def refuse(*_):
    raise AssertionError("computed a second time")

  monkeypatch.setattr(feature_cache, "_compute", refuse)
  again = feature_cache.apply(config, run.stored)
  np.testing.assert_array_equal(again.test.arrays["table"], run.dataset.test.arrays["table"])
  # Other data, other weights and an interrupted process compute anew.
  for other, stored in (
    (config, dataclasses.replace(run.stored, fingerprint="other")),
    (make_config(tower_of_other_weights(tower, tmp_path), tmp_path / "cache"), run.stored),
  ):
    with pytest.raises(AssertionError, match="second time"):
      feature_cache.apply(other, stored)
  for file in (tmp_path / "cache").rglob("done.json"):
    file.unlink()
  with pytest.raises(AssertionError, match="second time"):
    feature_cache.apply(config, run.stored)


def tower_of_other_weights(tower, tmp_path):
  folder = tmp_path / "other"
  shutil.copytree(tower, folder)
  tensors = tower_folders.safetensors.numpy.load_file(folder / "model.safetensors")
  name = sorted(tensors)[0]
  tensors[name] = tensors[name] + 1
  tower_folders.safetensors.numpy.save_file(tensors, folder / "model.safetensors")
  return folder


@pytest.mark.parametrize(
  ("method", "more", "message"),
  [
    ("infmasking", {}, "found that views of infmasking augment table"),
    ("supervised", {"optim.frozen": ()}, r"such as \('encoders_table',\), found none"),
    ("synib", {"method.site": "input"}, "leaves inputs as they are, found synib"),
    ("supervised", {"initialize_from": "/somewhere"}, "found config.initialize_from"),
  ],
)
def test_inputs_that_change_and_towers_that_train_are_refused(tmp_path, method, more, message):
  config = make_config(tmp_path, tmp_path, method, **more)
  with pytest.raises(ValueError, match=f"config.data.cache_features: expected .*{message}"):
    feature_cache.apply(config, load_dataset(config))
  assert not list(tmp_path.iterdir())


class Rows:
  """Two modalities, one of them a padded sequence; says what was read."""

  columns = {"label": np.arange(6)}

  def __init__(self, names=("image", "text")):
    self.names = names

  def __len__(self):
    return 6

  def read(self, index, length=None):
    made = {"image": np.ones((6, 2)), "text": np.arange(24.0).reshape(6, 4)[:, :length]}
    batch = {name: made[name][index] for name in self.names}
    if "text" in self.names:
      batch["text_length"] = np.full(len(index), 4)
    return batch | {"label": self.columns["label"][index]}

  def without(self, names):
    return Rows(tuple(name for name in self.names if name not in names))


def test_streamed_features_come_in_the_place_of_what_is_not_read():
  split = pipeline.Split({}, 6, {}, pipeline.already_gathered, rows=Rows())
  features = np.arange(6 * 4 * 3, dtype=np.float32).reshape(6, 4, 3)
  found = feature_cache._replaced(
    split, {"text": {"encoded": features, "length": np.array([4, 3, 2, 1, 4, 4])}}
  )
  index = np.array([5, 1])
  batch = found.rows.read(index, 3)
  np.testing.assert_array_equal(batch["text"], features[index, :3])
  np.testing.assert_array_equal(batch["text_length"], [4, 3])
  np.testing.assert_array_equal(batch["label"], index)
  assert batch["text_encoded"].all() and found.rows._rows.names == ("image",)
  assert len(found.rows) == 6
