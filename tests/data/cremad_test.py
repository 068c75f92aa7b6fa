"""CREMA-D from its fixture: what is read of the shards, and runs on it with small networks."""

import json

import jax
import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from configs import cremad
from data_prep import convert, fixtures
from data_prep.datasets.cremad import fixture as cremad_fixture
from data_prep.datasets.cremad.lists import CLASSES
from synjax import data, train
from synjax.data import inputs, pictures
from synjax.data.shards import Shards


def write(root, num_examples, *, split, **fields):
  """Returns the folder of the shards; source/ beside it has what they were made of."""
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


def test_a_fold_that_is_not_there_is_asked_for_by_its_command(data_dir):
  with pytest.raises(ValueError, match=r"cremad/fold2_logspec .*--audio=logspec --split=fold2$"):
    data.load(make_config(data_dir, "supervised,fold2"))


def test_new_clips_are_read_as_the_shards_were(data_dir):
  config = make_config(data_dir)
  dataset = data.load(config)
  source = Shards(data_dir, "cremad", "fold1_logspec", "").source("test")
  stored = [row for row in map(source.__getitem__, range(8)) if len(row["frames"]) == 3][:2]
  rows = [i for i in range(8) if len(source[i]["frames"]) == 3][:2]
  expected = dataset.test.read(np.array(rows))
  as_stored = {
    "audio": np.stack([row["logspec"] for row in stored]),
    "video": np.stack([np.asarray(row["frames"]) for row in stored]),
  }
  schema = inputs.describe(dataset)
  for given in (as_stored, {name: expected[name] for name in as_stored}):
    found = inputs.read("new", given, schema, config, None).rows.read(np.arange(len(rows)))
    for name in given:
      np.testing.assert_array_equal(found[name], expected[name])
  for name, wrong in (("video", np.zeros((2, 3))), ("audio", np.zeros((2, 257, 100)))):
    with pytest.raises(ValueError, match=f"new: {name}: expected .* as the run was") as error:
      inputs.read("new", {name: wrong}, schema, config, None)
    assert "\n" not in str(error.value)


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


def describe(images):
  """What no shift changes, [examples, 5 channels]: means of pixels and products of differences."""
  images = np.asarray(images)
  images = images.reshape(len(images), -1, *images.shape[-3:])
  down, right = (np.diff(images, axis=axis) for axis in (2, 3))
  products = np.abs(down), np.abs(right), down[..., :, :-1, :] * right[..., :-1, :, :]
  means = [part.mean((1, 2, 3)) for part in (images, *products)]
  return np.concatenate([*means, images.std((2, 3)).mean(1)], axis=-1)


def test_gates_survive_the_views_of_training_and_pooling(data_dir):
  """Of each modality alone: the synergy of the fixture is there for an encoder that pools its map."""
  dataset = data.load(make_config(data_dir))
  shards = Shards(data_dir, "cremad", "fold1_logspec", "")
  manifest = json.loads((data_dir.parent / "source" / cremad_fixture.MANIFEST).read_text())
  rows, batches = [], []
  for name, stored in (("train", "train"), ("val", "validation"), ("test", "test")):
    split, source = getattr(dataset, name), shards.source(stored)
    batches.append(split.read(np.arange(split.num_examples)))
    uids = [source[row]["uid"].decode() for row in range(len(source))]
    rows += [manifest["clips"].index(uid) for uid in uids]
  for modality, gate in (("audio", "gate_1"), ("video", "gate_2")):
    values = np.concatenate([batch[modality] for batch in batches])
    keys = jax.random.split(jax.random.key(0), len(values))
    seen = describe(dataset.transforms[modality].augment(keys, values))
    classifier = make_pipeline(StandardScaler(), LogisticRegression())
    accuracy = cross_val_score(classifier, seen, np.array(manifest["sources"][gate])[rows], cv=4)
    assert accuracy.mean() > 0.95


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
  """Each shows the kind, of three; which of its two emotions it is, only both show: alone, 1/2."""
  config = make_config(write(tmp_path, 864, split="fold1", signal="synergy"))
  config.batch_size, config.optim.lr, config.optim.schedule = 32, 2e-3, "constant"
  config.total_epochs = config.eval_epochs = config.checkpoint_epochs = 8.0
  best = train.train_and_evaluate(config, str(tmp_path / "run"))["rows"][0]["best"]
  assert best["test/label/macro_accuracy_low"] > 0.7
  for other in ("audio", "video"):
    assert abs(best[f"test/without_{other}/label/macro_accuracy"] - 0.5) < 0.13  # 3 deviations
