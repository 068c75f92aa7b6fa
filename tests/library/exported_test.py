"""The two files of an exported model: what is written is read, and what is no such model is refused."""

import json
import pickle

import numpy as np
import pytest
import safetensors.numpy

from synjax.library import exported
from synjax.workdir.probes import Probe
from tests.library import untrained

CONTENT = {
  "config": {"method": {"name": "comm"}, "data": {"name": "arrays"}, "seed": 3},
  "schema": untrained.SCHEMA,
  "standardization": untrained.STATISTICS,
  "scores": {"test/label/accuracy": float("nan")},
}
WEIGHTS = (
  {"head": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T, "scale": np.float32(2)}},
  {"batch_stats": {}, "moments": {"steps": np.int32(4)}},
)


@pytest.fixture
def folder(tmp_path):
  exported.write(tmp_path, CONTENT, WEIGHTS, {"label": Probe(np.ones((2, 3)), np.zeros(2))})
  return tmp_path


def change(folder, **fields):
  file = folder / "config.json"
  file.write_text(json.dumps(json.loads(file.read_text()) | fields))


def rewrite(folder, **arrays):
  file = folder / "model.safetensors"
  safetensors.numpy.save_file({**safetensors.numpy.load_file(file), **arrays}, file)


def test_what_is_written_is_read(folder):
  content, weights, probes = exported.read(folder)
  assert {name: content[name] for name in CONTENT if name != "scores"} == {
    name: value for name, value in CONTENT.items() if name != "scores"
  }
  assert np.isnan(content["scores"]["test/label/accuracy"])
  assert list(weights[1]) == ["moments", "batch_stats"] and weights[1]["batch_stats"] == {}
  np.testing.assert_array_equal(weights[0]["head"]["kernel"], [[0, 3], [1, 4], [2, 5]])
  assert (
    weights[0]["head"]["scale"].shape == () and weights[1]["moments"]["steps"].dtype == np.int32
  )
  np.testing.assert_array_equal(probes["label"](np.ones((1, 3))), [[3, 3]])
  assert exported.holds(folder)


def test_another_model_and_a_later_version_are_refused(folder):
  change(folder, version=2)
  with pytest.raises(ValueError, match="config.json: expected version 1 of it, found 2"):
    exported.read(folder)
  change(folder, version=1, model_type="distilbert")
  with pytest.raises(ValueError, match="model_type: expected 'synjax', found 'distilbert'"):
    exported.read(folder)


@pytest.mark.parametrize(
  "name", ["params", "probes/label/slope", "optimizer/m", "params/head/kernel/x"]
)
def test_arrays_that_are_no_part_of_a_model_are_refused_by_name(folder, name):
  rewrite(folder, **{name: np.zeros(2, np.float32)})
  with pytest.raises(ValueError, match="model.safetensors: expected .*export the run again"):
    exported.read(folder)


def test_a_cut_file_and_a_pickle_in_its_place_are_refused(folder):
  file = folder / "model.safetensors"
  whole = file.read_bytes()
  for damaged in (whole[:-3], pickle.dumps(print)):
    file.write_bytes(damaged)
    with pytest.raises(ValueError, match="model.safetensors: expected a whole safetensors file"):
      exported.read(folder)


def test_weights_that_are_no_numbers_are_refused_by_name(folder):
  rewrite(folder, **{"params/head/scale": np.float32([np.nan])})
  with pytest.raises(
    ValueError, match="expected finite numbers, found others in params/head/scale"
  ):
    exported.read(folder)
