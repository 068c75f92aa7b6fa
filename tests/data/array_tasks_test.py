"""Several labels an archive: each a task of its own kind, and none at the cost of another."""

import numpy as np
import pytest

from synjax import data, methods
from synjax.data import array_roles, inputs, irony
from synjax.training import selection
from synjax.workdir import schema
from tests.data.archives import add, load, make_config, make_split, write

MOODS = np.array(["calm", "glad", "sad"])


def numbers(f):
  return np.random.default_rng(len(f["label"])).normal(size=len(f["label"]))


MORE = {
  "label_mood": lambda f: MOODS[(np.arange(len(f["label"])) * 7) % 3],
  "label_tags": lambda f: np.stack([np.arange(len(f["label"])) // k % 2 for k in (3, 4, 5)], 1),
  "label_age": numbers,
}
KINDS = {"label_kind": "label_tags=multilabel"}


def several(folder, change=None, **splits):
  """A folder with labels of every kind; `change` edits after they were added."""

  def edit(split, found):
    add(**MORE)(split, found)
    if change is not None:
      change(split, found)

  return write(folder, edit, **splits)


def test_every_array_of_labels_is_a_task_of_its_own_kind(tmp_path):
  dataset = load(several(tmp_path), **KINDS)
  assert dataset.modalities == ("sensor", "table")
  assert (dataset.tasks, dataset.multilabels, dataset.regressions) == (
    {"label": 2, "label_mood": 3}, {"label_tags": 3}, {"label_age": 1},
  )  # fmt: skip
  stored = {n: make(make_split(16)) for n, make in MORE.items()}
  found = dataset.test.labels
  mood = np.array(dataset.class_names["label_mood"])[found["label_mood"]]
  np.testing.assert_array_equal(mood, stored["label_mood"])
  np.testing.assert_array_equal(found["label_tags"], stored["label_tags"])
  np.testing.assert_allclose(found["label_age"][:, 0], stored["label_age"], rtol=1e-6)
  np.testing.assert_array_equal(found["label"], np.arange(16) % 2)
  assert dataset.facts["label_mood"] == "3 classes"
  assert dataset.facts["examples_per_class of label_mood"]["test"] == {
    "calm": 6, "glad": 5, "sad": 5,
  }  # fmt: skip
  assert dataset.facts["label_age"] == "regression, 1 outputs"
  assert set(dataset.train.arrays) == {"sensor", "table", "label"}


LEARNED = {
  "": ("label", 2, "classes"),
  "label_mood": ("label_mood", 3, "classes"),
  "label_tags": ("label_tags", 3, "multilabel"),
}


@pytest.mark.parametrize("task", LEARNED)
def test_classifiers_learn_one_task_and_are_scored_and_selected_by_its_name(tmp_path, task):
  config = make_config(several(tmp_path), "supervised", task=task, **KINDS)
  dataset = data.load(config)
  assert (dataset.task, dataset.num_classes, dataset.label_kind) == LEARNED[task]
  np.testing.assert_array_equal(
    dataset.test.read(np.arange(16))["label"], dataset.test.labels[dataset.task]
  )
  methods.create(config, dataset)
  assert selection.choose_metric(config, dataset) == f"val/{dataset.task}/macro_accuracy"
  probed = make_config(tmp_path, "comm", **KINDS)
  assert selection.choose_metric(probed, dataset) == "val/mean/macro_accuracy"
  plain = load(tmp_path, **KINDS)
  assert dataset.fingerprint == plain.fingerprint  # the data are the same, whatever is learned


def test_without_label_the_only_task_is_learned_and_of_several_one_must_be_named(tmp_path):
  one = write(tmp_path / "one", add(label_mood=MORE["label_mood"], label=None))
  dataset = load(one)
  assert (dataset.tasks, dataset.task) == ({"label_mood": 3}, "label_mood")
  two = several(tmp_path / "two", add(label=None))
  config = make_config(two, "supervised", **KINDS)
  dataset = data.load(config)  # which may be pre-trained on
  assert dataset.task == "" and "label" not in dataset.train.arrays
  message = (
    "config.data.task: supervised learns one task: expected one of label_mood, label_tags, found"
  )
  with pytest.raises(ValueError, match=f"{message} none; .*--config.data.task=label_mood"):
    methods.create(config, dataset)
  config.data.task = "label_age"
  with pytest.raises(ValueError, match=f"{message} label_age, a regression"):
    methods.create(config, data.load(config))
  config.data.task = "mood"
  with pytest.raises(ValueError, match="config.data.task: .*label_mood, label_tags, found 'mood'"):
    data.load(config)


def test_labels_that_are_said_to_be_none_are_not_used(tmp_path):
  kinds = "label_tags=none,label_mood=none,label_age=none"
  dataset = load(several(tmp_path / "more"), label_kind=kinds)
  alone = load(write(tmp_path / "alone"))
  assert dataset.tasks == {"label": 2} and set(dataset.test.labels) == {"label"}
  assert dataset.fingerprint == alone.fingerprint


# Of `tests.data.archives` before there were further labels: runs of these days go on.
PINNED = {
  "integers": (None, None, "5d12162de1912ef9"),
  "texts": (lambda f: np.array(["sit", "run"])[f["label"]], None, "3dd8c5700274d7a8"),
  "several": (
    lambda f: np.random.default_rng(1).integers(0, 2, (len(f["label"]), 3)),
    "multilabel",
    "ecc9b780ee33655b",
  ),
}


@pytest.mark.parametrize("case", PINNED)
def test_the_fingerprint_of_label_alone_is_what_it_was(tmp_path, case):
  make, kind, expected = PINNED[case]
  folder = write(tmp_path, add(label=make) if make else None)
  assert load(folder, label_kind=kind).fingerprint == expected


def test_an_array_that_is_chosen_as_a_modality_is_no_task(tmp_path):
  folder = write(tmp_path, add(label_x=lambda f: f["sensor"][:, 0]))
  dataset = load(folder, modalities=("table", "label_x"))
  assert (dataset.modalities, dataset.tasks) == (("table", "label_x"), {"label": 2})


@pytest.mark.parametrize(
  ("name", "fits"),
  [
    *(("label", True), ("label_b", True), ("label_2", True), ("label_mean", True)),
    *(("label_without_noise", True), ("label_subject", True), ("label_a-b", True)),
    *(("labels", False), ("label_", False), ("label__x", False), ("label2", False)),
    *(("label_length", False), ("label_b_length", False), ("label_present", False)),
    *(("label_mask", False), ("label_ids", False), ("label_onehot", False), ("label_a/b", False)),
    *(("label_weights", False), ("label_one_hot", False), ("label_a b", False), ("y", False)),
  ],
)
def test_names_of_tasks(name, fits):
  assert array_roles.is_task(name) == fits


def drop(split, name):
  return lambda s, found: found.pop(name) if s == split else None


def put(split, name, make):
  return lambda s, found: found.update({name: make(found)}) if s == split else None


def both(name, make):
  return lambda _, found: found.update({name: make(found)})


HOSTILE = {
  "no test labels": (
    drop("test", "label_mood"),
    r"test.npz: label_mood: expected an array, as in train.npz, found only \['label', .*add it, or do"
    " without: --config.data.label_kind=label_tags=multilabel,label_mood=none",
  ),
  "test labels alone": (
    put("test", "label_new", lambda f: f["label"]),
    "test.npz: label_new: expected the labels of train.npz, label, label_age, label_mood, label_tags",
  ),
  "another number of examples": (
    put("validation", "label_mood", lambda f: f["label_mood"][:7]),
    "validation.npz: expected the same number of examples in every array, found .*'label_mood': 7",
  ),
  "classes that training lacks": (
    put("test", "label_mood", lambda f: np.where(np.arange(16) < 3, "mad", f["label_mood"])),
    "test.npz: label_mood: expected classes that occur in training, found others in 3 examples: mad 3;"
    " leave these examples out .*label_mood=none",
  ),
  "classes of label that training lacks": (
    put("test", "label", lambda f: np.where(np.arange(16) < 3, 5, f["label"])),
    "test.npz: label: expected classes that occur in training, found others in 3 examples: 5 3",
  ),
  "no label": (
    both("label_mood", lambda f: np.where(f["label_mood"] == "sad", "", f["label_mood"])),
    "train.npz: label_mood: expected classes, found  for 13 of 40 .*label_mood=classes",
  ),
  "no number": (
    put("test", "label_age", lambda f: np.where(np.arange(16) < 4, -999.0, f["label_age"])),
    "test.npz: label_age: expected numbers to predict, found -999 for 4 of 72.*label_age=regression",
  ),
  "whole floats": (
    both("label_mood", lambda f: f["label"] * 1.0),
    "train.npz: label_mood: expected classes or numbers.*label_kind=label_tags=multilabel,label_mood=cl",
  ),
  "one class": (
    both("label_mood", lambda f: 0 * f["label"]),
    "train.npz: label_mood: expected at least 2 classes .*do without: .*label_mood=none",
  ),
  "pickled": (
    both("label_mood", lambda f: f["label_mood"].astype(object)),
    "train.npz: label_mood: expected texts or numbers; it .*pickled",
  ),
  "a copy among the inputs": (
    both("table", lambda f: np.c_[f["table"], 7.0 - f["label_mood"].view("u4").reshape(-1, 4)[:, 0]]),
    "train.npz: table: expected an input, found label_mood in another form: 1 of its 5 features, such as"
    r" \[4\], follow it exactly",
  ),
  "a number among the inputs": (
    both("table", lambda f: np.c_[f["table"], 3 - f["label_age"]]),
    "train.npz: table: expected an input, found label_age in another form",
  ),
  "one of several among the inputs": (
    both("table", lambda f: np.c_[f["table"], 1 - f["label_tags"][:, 1]]),
    "train.npz: table: expected an input, found label_tags in another form",
  ),
  "one-hot": (both("label_onehot", lambda f: np.eye(2)[f["label"]]), "train.npz: label_onehot: .*NAME"),
  "a length": (both("label_length", lambda f: f["label"]), "train.npz: label_length: .*label_NAME"),
  "no name": (both("label_", lambda f: f["label"]), "train.npz: label_: .*looks like a label; further"),
  "a slash": (both("label_a/b", lambda f: f["label"]), "train.npz: label_a/b: .*other characters"),
  "another dtype in test": (
    put("test", "label_mood", lambda f: f["label"]),
    "test.npz: label_mood: expected texts of shape .* as in train.npz",
  ),
  "another width in test": (
    put("test", "label_tags", lambda f: f["label_tags"][:, :2]),
    r"test.npz: label_tags: expected integers of shape \[3\]",
  ),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_what_does_not_fit_is_named(tmp_path, case):
  change, message = HOSTILE[case]
  with pytest.raises(ValueError, match=message) as caught:
    load(several(tmp_path, change), **KINDS)
  assert "\n" not in str(caught.value)


def test_of_several_tasks_a_rare_class_is_not_held_out_of_training(tmp_path):
  """The draw of the held-out examples is that of one task, but for those of classes all drawn."""
  splits = {"splits": {"train": 40, "test": 16}}
  usual = load(write(tmp_path / "usual", **splits))
  rare = int(usual.val.origin.index[1])

  def change(split, found):
    if split == "train":
      found["label_mood"][rare] = "rare"

  dataset = load(several(tmp_path / "rare", change, **splits), **KINDS)
  assert "rare" in dataset.class_names["label_mood"] and rare in dataset.train.origin.index
  np.testing.assert_array_equal(
    dataset.val.origin.index, np.setdiff1d(usual.val.origin.index, [rare])
  )


def test_a_rare_tag_is_not_held_out_of_training(tmp_path):
  splits = {"splits": {"train": 40, "test": 16}}
  usual = load(several(tmp_path / "usual", **splits), **KINDS)
  rare = int(usual.val.origin.index[1])

  def change(split, found):
    if split == "train":
      found["label_tags"][:, 1] = np.arange(40) == rare

  dataset = load(several(tmp_path / "rare", change, **splits), **KINDS)
  np.testing.assert_array_equal(
    dataset.val.origin.index, np.setdiff1d(usual.val.origin.index, [rare])
  )
  assert dataset.train.labels["label_tags"][:, 1].sum() == 1


def test_irony_is_of_the_task_that_is_learned_and_leaves_the_others(tmp_path):
  config = make_config(several(tmp_path), "supervised", task="label_mood", **KINDS)
  plain = data.load(config)
  config.data.irony, config.data.irony_modality, config.data.irony_seed = 0.5, "table", 0
  found = data.load(config)
  assert found.tasks == {"label": 2, "label_mood": 4} and found.num_classes == 4
  assert found.class_names["label_mood"][-1] == irony.NAME
  ironic = found.test.labels["label_mood"] == 3
  assert 0 < ironic.sum() < 16
  for task in ("label", "label_tags", "label_age"):
    np.testing.assert_array_equal(found.test.labels[task], plain.test.labels[task])


def test_a_schema_says_which_task_was_learned_and_older_ones_do_not(tmp_path):
  config = make_config(several(tmp_path / "data"), "supervised", task="label_tags", **KINDS)
  schema.write(tmp_path, inputs.describe(data.load(config)))
  known = schema.read(tmp_path)
  empty = inputs.empty_dataset(config, known)
  assert (empty.task, empty.label_kind, empty.num_classes) == ("label_tags", "multilabel", 3)
  assert empty.train.arrays["label"].shape == (2, 3)
  del known["task"]
  assert inputs.empty_dataset(config, known).task == ""
