"""What labels of a user mean: classes or numbers, which classes, and what is asked about."""

import pathlib

import numpy as np
import pytest

from synjax import data, methods, train
from synjax.data import array_kinds, array_labels
from synjax.training import selection
from tests.data.archives import add, load, make_config, make_split, write

RENAMED = [
  (1, 2),
  (3, 7),
  (7, 3),
  (0.0, 1.0),
  (-4, 10**12),
  ("no", "yes"),
  ("yes", "no"),
  (True, False),
]


@pytest.mark.parametrize("names", RENAMED)
def test_what_classes_are_called_changes_nothing_that_is_computed(tmp_path, names):
  plain = load(write(tmp_path / "plain"))
  renamed = load(
    write(tmp_path / "renamed", add(label=lambda f: np.array(names)[f["label"]])),
    label_kind="classes" if isinstance(names[0], float) else None,
  )
  assert renamed.class_names == {"label": names}
  assert renamed.tasks == plain.tasks == {"label": 2}
  for split in ("train", "val", "test"):
    ours, theirs = getattr(plain, split), getattr(renamed, split)
    for name in ours.arrays:
      np.testing.assert_array_equal(ours.arrays[name], theirs.arrays[name])
      assert ours.arrays[name].dtype == theirs.arrays[name].dtype
    np.testing.assert_array_equal(ours.labels["label"], theirs.labels["label"])
  assert renamed.fingerprint != plain.fingerprint  # reports hold the names


def test_a_class_that_training_lacks_is_left_out_counted_and_traceable(tmp_path):
  def change(split, found):
    if split == "test":
      found["label"][[2, 5, 9]] = 8

  dataset = load(write(tmp_path, change), standardize=False)
  assert dataset.tasks == {"label": 2} and dataset.test.num_examples == 13
  assert dataset.facts["left out, of classes that training lacks"] == {"test": "3 examples: 8 3"}
  assert dataset.facts["examples_per_class"]["train"] == {"0": 20, "1": 20}
  kept = np.setdiff1d(np.arange(16), [2, 5, 9])
  np.testing.assert_array_equal(dataset.test.origin.index, kept)
  np.testing.assert_array_equal(
    dataset.test.arrays["table"], make_split(16)["table"].astype(np.float32)[kept]
  )


LABELS = {
  "ids": (lambda f: np.arange(len(f["label"])), "40 classes among 40 training examples"),
  "nearly ids": (lambda f: np.arange(len(f["label"])) // 1.5, "which may be either"),
  "names of examples": (
    lambda f: np.array([f"clip {i // 1.5:.0f}" for i in range(len(f["label"]))]),
    "classes among 40 training examples; names of examples belong into an array ids",
  ),
  "whole floats": (
    lambda f: f["label"].astype(float),
    "label_kind=classes or .*label_kind=regression",
  ),
  "one-hot": (lambda f: np.eye(2, dtype=int)[f["label"]], r"label.argmax\(axis=1\)"),
  "several labels": (
    lambda f: np.c_[f["label"], f["label"], 1 - f["label"]],
    "label_kind=multilabel",
  ),
  "several float labels": (lambda f: np.c_[f["label"], f["label"]] * 1.0, "label_kind=multilabel"),
  "counts": (lambda f: np.c_[f["label"], f["label"] + 4], "label_kind=regression"),
  "-1 for none": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], -1),
    "found -1 for 14 of 40",
  ),
  "-100 for none": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], -100),
    "found -100 for 14 of 40",
  ),
  "255 for none": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], 255),
    "found 255 for 14 of 40.*label_kind=classes",
  ),
  "-1 as uint8": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], -1).astype(np.uint8),
    "found 255 for 14 of 40",
  ),
  "the lowest integer": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], np.iinfo(np.int32).min),
    "found -2147483648 for 14",
  ),
  "-100 for none beside classes with a gap": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, 3 * f["label"], -100),
    "found -100 for 14 of 40",
  ),
  "-1 as uint64": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, f["label"], -1).astype(np.uint64),
    "found 18446744073709551615 for 14 of 40.*number the classes from 0",
  ),
  "<NA>": (
    lambda f: np.where(np.arange(len(f["label"])) % 3, np.array(["a", "b"])[f["label"]], "<NA>"),
    "found <NA> for 14 of 40",
  ),
  "no text": (lambda f: np.where(f["label"] == 1, "dog", ""), "found  for 20 of 40"),
  "the text nan": (lambda f: np.where(f["label"] == 1, "dog", "nan"), "found nan for 20 of 40"),
  "one class": (lambda f: 0 * f["label"], "at least 2 classes.*label_kind=none"),
  "a column of texts too many": (lambda f: np.full((len(f["label"]), 2), "a"), "write one column"),
}


@pytest.mark.parametrize("case", LABELS)
def test_labels_that_may_be_several_things_are_asked_about(tmp_path, case):
  make, message = LABELS[case]
  with pytest.raises(ValueError, match=rf"train.npz: label: expected .*{message}"):
    load(write(tmp_path, add(label=make)))


def test_classes_that_would_become_one_are_refused(tmp_path):
  latin = write(tmp_path / "latin", add(label=lambda f: np.array([b"\xe9", b"\xe8"])[f["label"]]))
  with pytest.raises(ValueError, match=r"train.npz: label: expected bytes in UTF-8, found b'\\xe"):
    load(latin)
  ids = add(ids=lambda f: np.array([b"\xff%d" % i for i in range(len(f["label"]))]))
  with pytest.raises(ValueError, match="train.npz: ids: expected bytes in UTF-8"):
    load(write(tmp_path / "ids", ids))
  high = write(tmp_path / "high", add(label=lambda f: np.array([1e19, 2e19])[f["label"]]))
  with pytest.raises(ValueError, match="label: .*within int64, found 1e.19 for 40 of 40"):
    load(high, label_kind="classes")

  def beyond(split, found):
    found["label"] = found["label"] * 1.0
    if split == "test":
      found["label"][3] = -1e30

  with pytest.raises(ValueError, match="test.npz: label: .*within int64, found -1e.30 for 1 of 16"):
    load(write(tmp_path / "test", beyond), label_kind="classes")


def test_minus_one_and_one_alone_are_two_classes(tmp_path):
  signs = write(tmp_path, add(label=lambda f: 2 * f["label"] - 1))
  assert load(signs).class_names == {"label": (-1, 1)}


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("split", ["train", "test"])
def test_numbers_that_may_be_no_label_are_asked_about_and_then_said(tmp_path, split, outputs):
  def change(here, found):
    label = np.random.default_rng(0).normal(size=(len(found["label"]), outputs))
    if here == split:
      label[[2, 5], -1] = -999
    found["label"] = label

  write(tmp_path, change)
  found = rf"-999 for 2 of 72 examples \({split} 2\)"
  with pytest.raises(ValueError, match=rf"{split}.npz: label: .*{found}.*label_kind=regression"):
    load(tmp_path)
  said = load(tmp_path, label_kind="regression").facts["label"]
  assert said.startswith(f"regression, {outputs} outputs; -999 for 2 of 72 examples ({split} 2)")


def test_the_answers_are_taken(tmp_path):
  floats = write(tmp_path / "floats", add(label=lambda f: f["label"].astype(np.float32)))
  assert load(floats, label_kind="classes").class_names == {"label": (0, 1)}
  assert load(floats, label_kind="regression").regressions == {"label": 1}
  signs = write(tmp_path / "signs", add(label=lambda f: 2 * f["label"] - 1))
  assert load(signs, label_kind="classes").class_names == {"label": (-1, 1)}
  column = write(tmp_path / "column", add(label=lambda f: f["label"][:, None]))
  assert load(column).tasks == {"label": 2}
  several = write(tmp_path / "several", add(label=lambda f: np.eye(2)[f["label"]]))
  assert load(several, label_kind="regression").regressions == {"label": 2}
  with pytest.raises(ValueError, match="config.data.label_kind: .*expected one of"):
    load(floats, label_kind="klass")
  texts = write(tmp_path / "texts", add(label=lambda f: np.array(["a", "b"])[f["label"]]))
  with pytest.raises(ValueError, match="label: expected numbers, for label_kind is regression"):
    load(texts, label_kind="regression")
  halves = write(tmp_path / "halves", add(label=lambda f: f["label"] / 2))
  with pytest.raises(ValueError, match="label: expected whole numbers.*found fractions"):
    load(halves, label_kind="classes")


def test_several_labels_an_example_are_0_and_1_in_a_column_each(tmp_path):
  def several(f):
    return np.stack([f["label"], 1 - f["label"], f["sensor"][:, 0, 0] > 0], axis=1)

  with pytest.raises(
    ValueError, match="of several labels an example, --config.data.label_kind=mult"
  ):
    load(write(tmp_path / "asked", add(label=several)))
  found = load(tmp_path / "asked", label_kind="multilabel")
  assert (found.multilabels, found.label_kind, found.num_classes) == ({"label": 3}, "multilabel", 3)
  assert not found.tasks and not found.regressions
  expected = several(make_split(16, 0))
  np.testing.assert_array_equal(found.test.labels["label"], expected)
  np.testing.assert_array_equal(found.test.arrays["label"], expected)
  for name, change, message in (
    ("one", lambda f: f["label"], "at least 2 labels, for label_kind is multilabel, found int64"),
    ("twos", lambda f: 2 * several(f), "expected 0 and 1, for label_kind is multilabel, found 2"),
    ("same", lambda f: several(f) * [1, 1, 0], "found only 0 in column 2; leave the column out"),
  ):
    with pytest.raises(ValueError, match=f"label: .*{message}"):
      load(write(tmp_path / name, add(label=change)), label_kind="multilabel")


def test_an_input_that_holds_one_of_several_labels_is_refused(tmp_path):
  both = add(
    label=lambda f: np.stack([f["label"], f["sensor"][:, 0, 0] > 0], axis=1),
    table=lambda f: np.concatenate([f["table"], 3.0 * f["label"][:, :1] - 1], axis=1),
  )
  with pytest.raises(ValueError, match="table: expected an input, found the label in another form"):
    load(write(tmp_path, both), label_kind="multilabel")


def test_methods_of_one_class_refuse_several_labels(tmp_path):
  folder = write(
    tmp_path, add(label=lambda f: np.stack([f["label"], f["table"][:, 0] > 0], axis=1))
  )
  for method, fits in (("supervised", True), ("synib", True), ("infmasking", True), ("mcr", False)):
    config = make_config(folder, method, label_kind="multilabel")
    if fits:
      methods.create(config, data.load(config))
      continue
    with pytest.raises(ValueError, match="mcr learns from one class an example.*found 2 labels"):
      methods.create(config, data.load(config))


def test_methods_of_classes_say_what_labels_hold_instead(tmp_path):
  folder = write(tmp_path, add(label=lambda f: f["table"][:, 0] + f["sensor"][:, 0, 0]))
  config = make_config(folder, "supervised")
  with pytest.raises(ValueError, match="expected classes in arrays, found a regression: label"):
    methods.create(config, data.load(config))
  config.data.label_kind = "none"
  with pytest.raises(ValueError, match="expected classes in arrays, found no labels"):
    methods.create(config, data.load(config))


def test_without_labels_nothing_is_scored_and_the_last_step_is_selected(tmp_path):
  folder = write(tmp_path, add(label=None))
  config = make_config(folder)
  assert selection.choose_metric(config, data.load(config)) == selection.LAST
  config.select_metric = "val/label/macro_accuracy"
  with pytest.raises(ValueError, match="config.select_metric: expected 'last'.*no labels"):
    train.check_config(config)


def test_numbers_to_predict_are_judged_over_all_splits():
  paths = {split: pathlib.Path(f"{split}.npz") for split in ("train", "val", "test")}
  wide, few = np.arange(-45, 46) / 15, np.array([3.0, 3.0, 0.2, 0.4, 0.6, 0.8])
  judge = lambda *labels, asked=None: array_labels.ask_about_numbers(  # noqa: E731
    paths,
    "label",
    dict(zip(paths, labels, strict=True)),
    array_kinds.parse(asked, ["label"]).of("label"),
  )
  assert judge(wide, few, few) == ""
  missing = np.append(few, -999.0)
  with pytest.raises(
    ValueError, match=r"^val.npz: label: .*-999 for 2 of 105 examples \(val 1, te"
  ):
    judge(wide, missing, missing)
  two = np.stack([few, few], axis=1)
  assert judge(two, two, np.append(two, [[0.5, -999]], 0), asked="regression").startswith(
    "-999 for 1"
  )
