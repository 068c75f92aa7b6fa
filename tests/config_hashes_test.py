"""Configs are the identity of runs: rows of sweeps are found again by them, so they must not change."""

import importlib
import json
import pathlib

import numpy as np
import pytest

from configs import defaults
from synjax.sweeps import plan
from synjax.workdir.results import config_hash

# "file:method,preset" -> hashes: the config file's whole output, its row, defaults of its fields.
PINNED = json.loads((pathlib.Path(__file__).parent / "golden" / "config_hashes.json").read_text())
READS = {"data": "0123"}


def hashes(argument, folder):
  """The three hashes of "file:method,preset"; configs of own arrays are those of the fixture `folder`."""
  file, _, rest = argument.partition(":")
  made = importlib.import_module(f"configs.{file}").get_config(rest.replace("FOLDER", str(folder)))
  config = json.loads(made.to_json_best_effort())
  if file == "arrays":
    config["data"]["data_dir"] = "FOLDER"
  alone = {**config, "num_seeds": 1}
  return [config_hash(config), plan.row_id(alone, READS), config_hash(defaults.of(config))]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Own arrays with one modality of each kind."""
  root = tmp_path_factory.mktemp("own")
  arrays = {"table": np.zeros((4, 3)), "series": np.zeros((4, 5, 2)), "label": np.arange(4) % 2}
  np.savez(root / "train.npz", image=np.zeros((4, 40, 40, 3), np.uint8), **arrays)
  return root


@pytest.mark.parametrize("argument", PINNED)
def test_a_config_its_row_and_its_defaults_are_as_they_were(argument, folder):
  assert hashes(argument, folder) == PINNED[argument]
