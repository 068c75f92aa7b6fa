"""Export -> load: the same numbers, from the folder alone; and from JAX alone."""

import json
import sys

import jax
import numpy as np
import pytest

import synjax
from synjax.library import exporting
from tests import tower_folders
from tests.library import untrained
from tests.library.runs import make

COUNT = 9


@pytest.fixture(scope="module")
def model():
  return untrained.make()


def whole():
  """Examples that have both modalities."""
  arrays, _ = make(COUNT, 2)
  arrays.pop("table_present")
  arrays["sensor_length"] = np.maximum(arrays["sensor_length"], 1)
  return arrays


def test_a_loaded_export_is_the_model(model, tmp_path):
  exporting.export(model, tmp_path / "out")
  again = synjax.load(tmp_path / "out")
  arrays, _ = make(COUNT, 2)
  np.testing.assert_array_equal(again.embed(arrays), model.embed(arrays))
  np.testing.assert_array_equal(again.predict_proba(arrays), model.predict_proba(arrays))
  assert np.isnan(again.scores.pop("test/label/auroc")) and again.scores == {
    "test/label/accuracy": 0.75
  }
  assert (again.seed, again.classes, again.shapes) == (model.seed, model.classes, model.shapes)
  assert len(synjax.load_all(tmp_path / "out")) == 1
  with pytest.raises(ValueError, match="expected trial=0 to 0, found 1"):
    synjax.load(tmp_path / "out", trial=1)
  assert "/data/mine" not in (tmp_path / "out/config.json").read_text()
  modes = {file.stat().st_mode for file in (tmp_path / "out").iterdir()}
  assert len(modes) == 1  # who may read one file may read all
  with pytest.raises(ValueError, match="--out: expected a new or an empty folder"):
    exporting.export(model, tmp_path / "out")


def test_one_trial_of_several_is_exported_with_its_seed(tmp_path):
  stored = untrained.make()._stored
  points = [{"seed": 7}, {"seed": 9, "optim.lr": 0.5}]
  stored = stored._replace(config={**stored.config, "trials": points}, position=1)
  exporting.export(synjax.Model(stored), tmp_path / "out")
  assert synjax.load(tmp_path / "out").seed == 9
  assert json.loads((tmp_path / "out/config.json").read_text())["config"]["trials"] == points[1:]


def test_the_callable_gives_the_same_for_batches_of_any_size(model):
  function = exporting.make_callable(model)
  assert function.platforms == exporting.PLATFORMS
  arrays = whole()
  given = {name: np.asarray(x, np.float32) for name, x in arrays.items()}
  given["sensor_length"] = np.asarray(arrays["sensor_length"], np.int32)
  expected = model.embed(arrays)
  for count in (COUNT, 1):
    found = function.call({name: x[:count] for name, x in given.items()})
    np.testing.assert_allclose(found, expected[:count], rtol=1e-4, atol=1e-5)


def test_the_callable_is_written_and_read_by_jax_alone(model, tmp_path):
  pytest.importorskip("flatbuffers")
  exporting.export(model, tmp_path, jax_export=True)
  function = jax.export.deserialize(bytearray((tmp_path / "embed.jax_export").read_bytes()))
  table = np.zeros((2, 4), np.float32)
  given = {
    "sensor": np.ones((2, 6, 3), np.float32),
    "sensor_length": np.full(2, 6, np.int32),
    "table": table,
  }
  np.testing.assert_allclose(function.call(given), model.embed(given), rtol=1e-4, atol=1e-5)


def test_without_flatbuffers_no_folder_is_left(model, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, "jax._src.export.serialization", None)
  monkeypatch.setitem(sys.modules, "flatbuffers", None)
  with pytest.raises(ValueError, match="--jax_export: .*flatbuffers"):
    exporting.export(model, tmp_path / "out", jax_export=True)
  assert not (tmp_path / "out").exists()


def test_padding_that_is_data_has_no_callable():
  model = untrained.make(data__padding="batch_max")
  with pytest.raises(ValueError, match="--jax_export: .*data.padding=batch_max"):
    exporting.make_callable(model)


def test_a_towers_folder_is_needed_no_more(golden, tmp_path):
  """The published weights are among the model's; its sizes are in the config."""
  folder = tower_folders.write_case(golden, tmp_path / "tower", "clip_vision")
  image = {
    "name": "image",
    "shape": [16, 16, 3],
    "dtype": "uint8",
    "padded": False,
    "standardized": False,
  }
  schema = {**untrained.SCHEMA, "modalities": [image, untrained.SCHEMA["modalities"][1]]}
  config = untrained.make(statistics=untrained.STATISTICS)._config
  with config.unlocked():
    config.model.modalities.image = {
      "encoder": {"name": "clip_vision", "weights": str(folder), "size": "", "remat": True},
      "adapter": {"name": "sequence"},
    }
    config.model.width, config.data.resolution = 24, 16
    config.data.modalities = ("image", "table")
  model = untrained.of_config(config, schema)
  exporting.export(model, tmp_path / "out")
  for file in folder.iterdir():
    file.unlink()
  again = synjax.load(tmp_path / "out")
  image = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3), np.uint8)
  x = {"image": image, "table": np.ones((3, 4))}
  np.testing.assert_array_equal(again.embed(x), model.embed(x))
  assert str(tmp_path) not in (tmp_path / "out/config.json").read_text()
