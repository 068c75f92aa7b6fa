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
    config.data.cache_dir, config.data.resident_gb = str(cache), 1.0
    config.data.read_threads = 2
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


@pytest.mark.whole_run
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


def test_features_that_do_not_fit_are_streamed_and_give_the_same_run(tower, tmp_path, monkeypatch):
  def load_probe_is_train(config):
    dataset = load_dataset(config)
    return dataclasses.replace(dataset, probe=dataset.train)

  monkeypatch.setitem(data.DATASETS, "tiny", load_probe_is_train)
  config = make_config(tower, tmp_path / "cache")
  # Features float32[17, 24] and "encoded" of the table; series float32[5, 3], label and source.
  size = (96 + 40 + 40) * (4 * 17 * 24 + 1 + 4 * 5 * 3 + 4 + 4)
  found = {}
  for name, limit in (("fits", size), ("exceeds", size - 1)):
    config.data.resident_gb = limit / 1e9
    found[name] = trained(config, tmp_path / name)
  (run, params, scores), (streamed, others, expected) = found["fits"], found["exceeds"]
  assert run.dataset.train.rows is None and streamed.dataset.train.arrays == {}
  assert streamed.dataset.train.rows is streamed.dataset.probe.rows is not None
  batch = streamed.dataset.train.read(np.array([3, 1]))
  for field, value in run.dataset.train.read(np.array([3, 1])).items():
    np.testing.assert_array_equal(batch.pop(field), value)
  assert not batch
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), params, others)
  for name, value in expected.items():
    np.testing.assert_allclose(scores[name], value, atol=1e-6, err_msg=name)


def test_a_run_goes_on_as_it_would_have_after_its_towers_folder_is_gone(
  tower, tmp_path, monkeypatch
):
  monkeypatch.setitem(data.DATASETS, "tiny", load_dataset)
  own, run, twin = tmp_path / "tower", tmp_path / "run", tmp_path / "twin"
  shutil.copytree(tower, own)
  steps = {"total_steps": 1, "eval_steps": 1, "checkpoint_steps": 1}
  config = make_config(own, tmp_path / "cache", **steps)
  train.train_and_evaluate(config, str(run))
  shutil.copytree(run, twin)
  config.total_steps = 2
  expected = train.train_and_evaluate(config, str(twin))["rows"]
  shutil.rmtree(own)
  found = train.train_and_evaluate(config, str(run))
  for name, value in expected[0]["last"].items():
    np.testing.assert_allclose(found["rows"][0]["last"][name], value, atol=1e-5, err_msg=name)
  assert found["config"]["model"]["modalities"]["table"]["encoder"]["weights"] == str(own)
  assert train.train_and_evaluate(config, str(run)) == found
  with pytest.raises(ValueError, match="tower: expected a folder of weights"):
    train.train_and_evaluate(config, str(tmp_path / "new"))


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


@pytest.mark.parametrize(
  ("change", "message"),
  [
    (
      {"augments_clean": True},
      "found that config.data.augment_training augments table: its features differ",
    ),
    ({"gather": lambda arrays, index: {}}, "one stored row an example, found that tiny puts"),
  ],
)
def test_data_that_change_and_pairs_are_refused(tmp_path, change, message):
  config = make_config(tmp_path, tmp_path)
  stored = load_dataset(config)
  if "gather" in change:
    change = {"train": dataclasses.replace(stored.train, **change)}
  with pytest.raises(ValueError, match=f"config.data.cache_features: expected .*{message}"):
    feature_cache.apply(config, dataclasses.replace(stored, **change))
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


def make_features():
  features = np.arange(6 * 4 * 3, dtype=np.float32).reshape(6, 4, 3)
  return {"text": {"encoded": features, "length": np.array([4, 3, 2, 1, 4, 4])}}


def test_streamed_features_come_in_the_place_of_what_is_not_read():
  split = pipeline.Split({}, 6, {}, pipeline.already_gathered, rows=Rows())
  found = feature_cache.EncodedSplit(split, make_features()).streamed()
  features = make_features()["text"]["encoded"]
  index = np.array([5, 1])
  batch = found.rows.read(index, 3)
  np.testing.assert_array_equal(batch["text"], features[index, :3])
  np.testing.assert_array_equal(batch["text_length"], [4, 3])
  np.testing.assert_array_equal(batch["label"], index)
  assert batch["text_encoded"].all() and found.rows._rows.names == ("image",)
  assert len(found.rows) == 6


def test_a_split_from_disk_fits_on_the_device_once_its_features_do():
  split = pipeline.Split({}, 6, {}, pipeline.already_gathered, rows=Rows())
  encoded = feature_cache.EncodedSplit(split, make_features())
  streamed, found = encoded.streamed(), encoded.resident("made")
  assert found.rows is None and found.gather is pipeline.gather_rows
  index = np.array([5, 1, 0])
  batch = found.read(index)
  for field, value in streamed.rows.read(index).items():
    np.testing.assert_array_equal(batch.pop(field), value)
  assert not batch


def test_what_is_asked_of_all_examples_is_known_of_streamed_features():
  present = np.array([True, False, True, True, False, True])
  label = np.arange(12).reshape(6, 2) % 2  # several an example
  arrays = {"text": np.zeros((6, 4)), "text_present": present, "label": label}
  features = {"text": make_features()["text"] | {"present": present}}
  found = feature_cache.EncodedSplit(pipeline.Split(arrays, 6, {}), features).streamed()
  np.testing.assert_array_equal(found.having(["text"]), present)
  np.testing.assert_array_equal(found.rows.columns["label"], label)  # `Predictor.field` reads it
  assert set(found.rows.read(np.arange(2))) == {
    "text", "text_present", "text_length", "text_encoded", "label",
  }  # fmt: skip
