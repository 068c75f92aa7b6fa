"""What is said of a user's arrays, or refused by their values, before training."""

import numpy as np
import pytest

from tests.data.archives import COUNTS, add, load, write

COPIES = {
  "one-hot": lambda f: np.eye(2)[f["label"]],
  "the label as a column": lambda f: np.c_[f["table"], f["label"]],
  "the label as a step": lambda f: np.concatenate(
    [f["sensor"], np.tile(f["label"][:, None, None], (1, 1, 3))], 1
  ),
  "an affine function": lambda f: 3.5 - 0.25 * f["label"][:, None],
  "a picture": lambda f: np.tile(f["label"][:, None, None, None] * 9, (1, 4, 4, 3)).astype(
    np.uint8
  ),
}


@pytest.mark.parametrize("case", COPIES)
def test_the_label_in_another_form_is_no_input_whatever_it_is_called(tmp_path, case):
  folder = write(tmp_path, add(innocent=COPIES[case]))
  with pytest.raises(ValueError, match=r"train.npz: innocent: .*the label in another form.*all 40"):
    load(folder)
  chosen = load(folder, modalities=("sensor", "innocent"))
  assert "follow the label exactly" in chosen.facts["label in innocent"]


def test_a_copy_of_a_number_to_predict_is_found_and_a_relative_is_not(tmp_path):
  rng = np.random.default_rng(5)
  scores = {split: rng.normal(size=count) for split, count in COUNTS.items()}

  def make(noise):
    def change(split, found):
      found["label"] = scores[split]
      found["innocent"] = np.c_[found["table"][:, :1], 2 - 7 * scores[split]]
      found["innocent"] += noise * rng.normal(size=found["innocent"].shape)

    return change

  assert load(write(tmp_path / "near", make(0.01))).regressions == {"label": 1}
  with pytest.raises(ValueError, match=r"innocent: .*such as \[1\]"):
    load(write(tmp_path / "copy", make(0)))


def test_what_alone_gives_the_label_away_is_said(tmp_path):
  def change(_, found):
    score = found["table"][:, 1] + np.sign(found["table"][:, 1])
    found["label"] = (score > 0).astype(int)
    found["innocent"] = np.c_[found["table"][:, 0], score]
    found["sensor_length"] = 2 + found["label"]

  facts = load(write(tmp_path, change)).facts
  assert "[1], tell all classes apart" in facts["label in innocent"]
  assert facts["label in table"].startswith("1 of its 4 features, such as [1],")
  assert "label in sensor" not in facts
  assert "exactly" in facts["label in sensor_length"]


def numbers(f):
  return np.arange(len(f["label"]))[:, None]


MARKS = {
  "a mask": (
    lambda f: (np.arange(6) < 1 + np.arange(len(f["label"]))[:, None] % 6) * 1.0,
    "look like a mask",
  ),
  "ones": (lambda f: np.ones((len(f["label"]), 6)), "look like a mask"),
  "a mask with an axis": (lambda f: np.ones((len(f["label"]), 6, 1)), "look like a mask"),
  "row numbers": (numbers, "numbers the examples"),
  "shuffled row numbers": (
    lambda f: np.random.default_rng(0).permutation(len(f["label"]))[:, None] + 7.0,
    "numbers the examples",
  ),
}


@pytest.mark.parametrize("case", MARKS)
def test_what_marks_or_numbers_examples_is_refused_by_its_values_until_it_is_chosen(tmp_path, case):
  make, message = MARKS[case]
  folder = write(tmp_path, add(extra=make))
  with pytest.raises(ValueError, match=f"train.npz: extra: expected an input, .*{message}"):
    load(folder)
  assert "extra" in load(folder, modalities=("sensor", "extra")).modalities


@pytest.mark.parametrize("noise", [1e-6, 0.1])
def test_a_one_hot_label_in_noise_is_refused_until_it_is_chosen(tmp_path, noise):
  def make(f):
    rng = np.random.default_rng(0)
    return 5 * np.eye(2)[f["label"]] + noise * rng.normal(size=(len(f["label"]), 2))

  folder = write(tmp_path, add(score=make))
  with pytest.raises(ValueError, match="score: expected an input, found the label in another form"):
    load(folder)
  assert load(folder, modalities=("sensor", "score")).modalities == ("sensor", "score")


def test_features_of_different_scales_are_said(tmp_path):
  assert "scales" not in load(write(tmp_path / "alike")).facts
  scaled = add(table=lambda f: f["table"] * [1, 1e4, 1, 1e-2])
  folder = write(tmp_path / "scaled", scaled)
  assert "nothing is standardised" in load(folder, standardize=False).facts["scales"]
  assert "scales" not in load(folder).facts


def test_features_that_are_constant_in_training_are_said(tmp_path):
  assert (
    load(write(tmp_path / "vary")).facts["standardized"] == "sensor, table, on training examples"
  )
  constant = add(table=lambda f: f["table"] * [1, 0, 1, 0])
  said = load(write(tmp_path / "constant", constant)).facts["standardized"]
  assert said.endswith("constant in training, 0 everywhere: 2 of table, such as 1")
  assert "standardized" not in load(tmp_path / "constant", standardize=False).facts


def test_one_test_example_is_said_and_none_refused_before_training(tmp_path):
  dataset = load(write(tmp_path, splits={"train": 40, "test": 1}))
  assert dataset.facts["a single example in"] == "test: some scores do not exist, null"
  other_class = lambda split, found: found.update(label=found["label"] + 7 * (split == "test"))  # noqa: E731
  with pytest.raises(ValueError, match=r"test.npz: expected examples .*found none"):
    load(write(tmp_path / "none", other_class))


def test_ids_that_are_in_two_splits_are_said(tmp_path):
  change = add(ids=lambda f: np.array([f"clip {i}" for i in range(len(f["label"]))]))
  facts = load(write(tmp_path, change)).facts
  assert facts["ids in two splits"] == {
    "test and train": 16,
    "test and val": 16,
    "train and val": 16,
  }
  objects = add(ids=lambda f: np.array(["clip"] * len(f["label"]), object))
  with pytest.raises(ValueError, match=r"train.npz: ids: expected texts or numbers; it is object"):
    load(write(tmp_path, objects))


def test_numbers_to_predict_that_float32_makes_alike_or_that_are_alike_are_refused(tmp_path):
  rng = np.random.default_rng(0)
  late = add(label=lambda f: 1.7e9 + rng.normal(size=len(f["label"])))
  with pytest.raises(
    ValueError, match="train.npz: label: .*float32 tells apart, found float64 from"
  ):
    load(write(tmp_path / "late", late))
  same = add(label=lambda f: np.full(len(f["label"]), 0.3))
  with pytest.raises(ValueError, match="label: expected numbers that differ, found 0.3 for all 40"):
    load(write(tmp_path / "same", same))
  one = add(label=lambda f: np.c_[f["sensor"][:, 0, :2] ** 2 + f["table"][:, :2], 0 * f["label"]])
  said = load(write(tmp_path / "one", one)).facts["label"]
  assert said == "regression, 3 outputs; the same in all training examples: 2"


def test_a_monotone_function_of_a_number_to_predict_is_no_input(tmp_path):
  change = add(label=lambda f: np.exp(f["table"][:, 0]), innocent=lambda f: f["table"][:, :1] ** 2)
  folder = write(tmp_path, change, splits={"train": 80, "validation": 16, "test": 16})
  with pytest.raises(ValueError, match=r"train.npz: table: .*the label in another form.*all 80"):
    load(folder)
  assert "label in table" in load(folder, modalities=("sensor", "table")).facts
