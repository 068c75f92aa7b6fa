"""CREMA-D from its fixture: what is read of the shards, and runs on it with small networks."""

import numpy as np
import pytest

from configs import cremad
from data_prep import convert, fixtures
from data_prep.datasets.cremad.lists import CLASSES
from synjax import data, train
from synjax.data import pictures
from synjax.data.shards import Shards


def write(root, num_examples, *, split, **fields):
  fixtures.make_fixture("cremad", root / "source", num_examples=num_examples, **fields)
  convert.convert("cremad", root / "source", root / "shards", split=split, audio="logspec")
  return root / "shards"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
  root = tmp_path_factory.mktemp("cremad")
  write(root, 72, split="fold1")
  convert.convert("cremad", root / "source", root / "shards", split="ogm", audio="logspec")
  return root / "shards"


def make_config(data_dir, argument="supervised,fold1", **fields):
  config = cremad.get_config(argument)
  config.data.data_dir = str(data_dir)
  config.data.resolution = 32
  config.data.update(fields)
  config.num_devices, config.batch_size, config.eval_batch_size = 1, 16, 16
  config.early_stop_patience = None
  for modality in config.model.modalities.values():
    modality.encoder.size = "tiny"
  return config


def test_a_fold_is_read_as_it_is_stored(data_dir):
  found = data.load(make_config(data_dir))
  assert found.modalities == ("audio", "video") and found.tasks == {"emotion": 6}
  assert found.class_names["emotion"][CLASSES.index("FEA")] == "fear"
  stored = Shards(data_dir, "cremad", "fold1_logspec", "").source("test")
  assert found.test.num_examples == len(stored)
  rows = np.arange(4)
  batch = found.test.read(rows)
  for row in rows:
    example = stored[int(row)]
    np.testing.assert_array_equal(batch["audio"][row], example["logspec"][..., None])
    expected = pictures.frames(np.asarray(example["frames"]), 3, 32)
    np.testing.assert_array_equal(batch["video"][row], expected)
    assert batch["label"][row] == found.test.labels["emotion"][row] == example["label"]


def test_streamed_clips_are_those_in_memory(data_dir):
  resident, streamed = (
    data.load(make_config(data_dir, resident_gb=size)).train for size in (8.0, 0.0)
  )
  assert streamed.rows is not None and resident.rows is None
  one, other = (split.read(np.array([3, 0])) for split in (resident, streamed))
  for name in ("audio", "video", "label"):
    np.testing.assert_array_equal(one[name], other[name])


def test_splits_without_validation_hold_actors_out(data_dir):
  found = data.load(make_config(data_dir, "supervised,ogm"))
  stored = Shards(data_dir, "cremad", "ogm_logspec", "").source("train")
  actors = [stored[row]["actor_id"] for row in range(len(stored))]
  train_actors, val_actors = (
    {actors[i] for i in split.origin.index} for split in (found.train, found.val)
  )
  assert val_actors and not train_actors & val_actors


def test_classifiers_are_trained_on_crops_and_scored_on_whole_frames(data_dir):
  found = data.load(make_config(data_dir))
  assert found.training_transforms["video"].evaluate is found.transforms["video"].augment
  plain = data.load(make_config(data_dir, augment_training=False))
  assert plain.training_transforms is plain.transforms


@pytest.mark.whole_run
def test_ironic_clips_are_learned_and_scored(data_dir, tmp_path):
  config = make_config(data_dir, "supervised,fold1", irony=1.0)
  config.total_steps = config.eval_steps = config.checkpoint_steps = config.log_steps = 1
  for name in ("total", "eval", "checkpoint", "log"):
    config[f"{name}_epochs"] = None
  results = train.train_and_evaluate(config, str(tmp_path))
  best = results["rows"][0]["best"]
  assert {"test/label/irony_f1", "test/label/macro_f1", "test/label/accuracy"} <= set(best)
  assert results["classes"]["emotion"][-1] == "irony"


@pytest.mark.slow
def test_synergy_of_sound_and_picture_is_found(tmp_path):
  config = make_config(write(tmp_path, 864, split="fold1", signal="synergy"))
  config.data.augment_training = False
  config.optim.lr, config.optim.schedule = 2e-3, "constant"
  config.total_epochs, config.eval_epochs, config.checkpoint_epochs = 60.0, 10.0, 10.0
  results = train.train_and_evaluate(config, str(tmp_path / "run"))
  # Sound and picture each show the kind, of three; which of its two emotions it is, only both show.
  assert results["rows"][0]["best"]["test/label/macro_accuracy_low"] > 1 / 2
