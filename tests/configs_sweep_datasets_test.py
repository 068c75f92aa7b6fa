"""DATASET is spelt alike by every sweep that takes one."""

import numpy as np
import pytest

from configs import arrays
from configs.sweeps import balancing_recipes, datasets, irony, synib_arms, synib_table2, table
from synjax.sweeps.file import Hyper


@pytest.fixture
def folder(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  path = tmp_path / "data" / "htad"
  path.mkdir(parents=True)
  arrays = {name: np.zeros((8, 3), np.float32) for name in ("sensor", "text")}
  np.savez(path / "train.npz", label=np.arange(8) % 3, **arrays)
  return path


@pytest.mark.parametrize("sweep", [table, synib_table2, irony, synib_arms, balancing_recipes])
def test_a_name_and_a_folder_mean_the_same_data_to_every_sweep(sweep, folder):
  named, own = sweep.get_flags("htad")[0], sweep.get_flags(str(folder))[0]
  assert named.startswith("--config=configs/open.py:") and named.endswith(",htad")
  assert own.startswith("--config=configs/arrays.py:") and own.endswith(f",{folder}")
  for unknown in ("open:htad", f"arrays:{folder}", "htat", ""):
    with pytest.raises(ValueError, match="expected a DATASET, one of htad"):
      sweep.get_flags(unknown)


def test_only_a_sweep_that_says_so_takes_presets():
  files = {"mosi": "2"}
  assert datasets.find("mosi", files).argument("comm") == "comm,2"
  assert datasets.find("mosi,3", files).argument("comm") == "comm,3"
  with pytest.raises(ValueError, match="DATASET"):
    datasets.find("mosi,3", files, fixed=True)


def test_irony_of_two_classes_leaves_out_the_rate_that_would_change_all(folder):
  rates = {row["data.irony"] for row in irony.get_hyper(Hyper, str(folder))}
  assert rates == {0.1, 0.5, 1.0, 2.0}  # three classes
  np.savez(folder / "train.npz", sensor=np.zeros((8, 3)), text=np.zeros((8, 3)), label=[0, 1] * 4)
  rates = {row["data.irony"] for row in irony.get_hyper(Hyper, str(folder))}
  assert rates == {0.1, 0.5, 1.0}
  np.savez(folder / "train.npz", sensor=np.zeros((8, 3)), label=np.array(["a", "b"] * 4))
  assert arrays.count_classes(str(folder)) == 2
  np.savez(folder / "train.npz", sensor=np.zeros((8, 3)), label=[-1, 0, 1, 1, 0, 1, 0, -1])
  assert arrays.count_classes(str(folder)) == 2  # -1 is none
  np.savez(folder / "train.npz", sensor=np.zeros((8, 3)))
  assert arrays.count_classes(str(folder)) is None
