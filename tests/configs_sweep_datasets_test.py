"""DATASET is spelt alike by every sweep that takes one."""

import importlib

import numpy as np
import pytest

from configs import arrays
from configs.sweeps import balancing_recipes, datasets, irony, synib_arms, synib_table2, table
from synjax.models.encoders.sequence_transformer import SequenceTransformer
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


def test_a_sweep_says_which_presets_can_be_typed():
  assert datasets.find("mosi,3", {"mosi": ()}).argument("comm") == "comm,3"
  assert datasets.find("mosi", {"mosi": ()}).argument("comm") == "comm"
  files = {"mosi": ("2", "tiny")}
  assert datasets.find("mosi", files).argument("comm") == "comm,2"
  assert datasets.find("mosi,tiny", files).argument("comm") == "comm,tiny"
  with pytest.raises(ValueError, match="mosi,tiny or a folder .*, found 'mosi,3'"):
    datasets.find("mosi,3", files)


@pytest.mark.parametrize("name", ["mosi", "mosei", "mustard", "urfunny"])
def test_tiny_is_two_modalities_with_a_fiftieth_of_the_work(name):
  get_config = importlib.import_module(f"configs.{name}").get_config
  tiny, full = get_config("supervised,tiny"), get_config("supervised,2")
  assert tiny.data.to_dict() == full.data.to_dict()
  for modality, part in tiny.model.modalities.items():
    sizes = [dict(p.encoder) for p in (part, full.model.modalities[modality])]
    small, usual = (
      SequenceTransformer(width=40, **{k: v for k, v in s.items() if k != "name"}) for s in sizes
    )
    assert small.num_layers * small.hidden * 50 <= usual.num_layers * usual.hidden


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


def test_arrays_of_labels_are_no_modalities_of_own_data_and_may_be_classes(folder):
  with np.load(folder / "train.npz") as file:
    found = dict(file)
  tags = np.zeros((8, 2), int)
  np.savez(folder / "train.npz", **found | {"label_tags": tags, "label": np.arange(8) / 3})
  dataset = datasets.find(str(folder), {})
  assert dataset.modalities() == ("sensor", "text")
  assert dataset.has_classes()
  np.savez(folder / "train.npz", **found | {"label": np.arange(8) / 3})
  assert not datasets.find(str(folder), {}).has_classes()
