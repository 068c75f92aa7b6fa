"""Raw features against NumPy, example by example, and scikit-learn's scaler."""

import numpy as np
import pytest
import sklearn.preprocessing

from synjax.data import pipeline
from synjax.evaluators import raw_features


def make_split(count=30, seed=0, **changed):
  rng = np.random.default_rng(seed)
  arrays = {
    "table": rng.normal(5, 3, (count, 4)).astype(np.float32),
    "series": rng.normal(-2, 4, (count, 6, 3)).astype(np.float32),
    "series_length": rng.integers(1, 7, count).astype(np.int32),
    "image": rng.integers(0, 256, (count, 2, 3, 1)).astype(np.uint8),
  }
  return pipeline.Split(arrays | changed, count, {})


def test_a_sequence_is_four_numbers_a_feature_of_its_real_steps():
  split = make_split()
  found = raw_features.read(split, ("series",))["series"]
  for row, series, length in zip(
    found, split.arrays["series"], split.arrays["series_length"], strict=True
  ):
    real = series[:length].astype(np.float64)
    expected = [real.mean(0), real.std(0), real.min(0), real.max(0)]
    np.testing.assert_allclose(row, np.concatenate(expected), rtol=1e-6)
  padding = np.arange(6) >= split.arrays["series_length"][:, None]
  filled = np.where(padding[..., None], 1e9, split.arrays["series"])
  np.testing.assert_array_equal(
    raw_features.read(make_split(series=filled), ("series",))["series"], found
  )


def test_an_image_is_its_pixels_and_chunks_do_not_matter(monkeypatch):
  split = make_split()
  whole = raw_features.read(split, ("image", "table"))
  np.testing.assert_array_equal(whole["image"], split.arrays["image"].reshape(30, 6))
  monkeypatch.setattr(raw_features, "_CHUNK", 7)
  for name, values in raw_features.read(split, ("image", "table")).items():
    np.testing.assert_array_equal(values, whole[name])


def test_standardised_on_training_statistics_as_by_scikit_learn():
  train, test = make_split(), make_split(20, 1)
  read = {
    "train": raw_features.read(train, ("table",)),
    "test": raw_features.read(test, ("table",)),
  }
  found = raw_features.standardize(read, "train")
  scaler = sklearn.preprocessing.StandardScaler().fit(train.arrays["table"].astype(np.float64))
  for name, split in (("train", train), ("test", test)):
    np.testing.assert_allclose(
      found[name]["table"], scaler.transform(split.arrays["table"]), rtol=1e-5, atol=1e-5
    )


def test_values_that_were_standardised_before_give_the_same_features():
  """Whether `data.standardize` has been at them or not: nothing is standardised twice."""
  split, names = make_split(), ("table", "series")
  scaled = make_split(
    table=(split.arrays["table"] - 5) / 3, series=(split.arrays["series"] + 2) / np.float32(0.004)
  )
  plain, again = (
    raw_features.standardize({"train": raw_features.read(one, names)}, "train")["train"]
    for one in (split, scaled)
  )
  for name in names:
    np.testing.assert_allclose(plain[name], again[name], atol=2e-4)


def test_what_is_absent_not_finite_or_constant_says_nothing():
  table = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
  table[:, 1] = 0.1
  table[3, 2] = np.inf
  present = np.arange(30) % 3 > 0
  table[~present] = np.nan
  split = make_split(table=table, table_present=present)
  read = raw_features.read(split, ("table",))
  assert np.isnan(read["table"][~present]).all()
  found = raw_features.standardize({"train": read}, "train")["train"]["table"]
  assert (found[~present] == 0).all() and (found[:, 1] == 0).all() and found[3, 2] == 0
  own = table[present][:, 0].astype(np.float64)
  np.testing.assert_allclose(found[present][:, 0], (own - own.mean()) / own.std(), rtol=1e-5)


def test_pairs_of_stored_images_are_gathered():
  images = np.arange(24.0).reshape(3, 2, 2, 2)
  pairs = np.array([[0, 1], [2, 0], [1, 1], [2, 2]])
  split = pipeline.Split(
    {"images": images, "pairs": pairs}, 4, {},
    lambda arrays, index: {"image": arrays["images"][arrays["pairs"][index][:, 1]]},
  )  # fmt: skip
  found = raw_features.read(split, ("image",))["image"]
  np.testing.assert_array_equal(found, images[pairs[:, 1]].reshape(4, 8))


@pytest.mark.parametrize(
  ("limit", "message"),
  [
    ({"MAX_STORED": 30 * 27}, "30 training examples of 28 numbers: more than 810 in all"),
    ({"MAX_FEATURES": 30 * 21}, "30 training examples of 22 raw features: more than 630 in all"),
    ({"MAX_STORED": 30 * 28, "MAX_FEATURES": 30 * 22}, ""),
  ],
)
def test_too_many_are_counted_without_reading_them(limit, message, monkeypatch):
  for name, value in limit.items():
    monkeypatch.setattr(raw_features, name, value)
  table, series, image = 4, 6 * 3, 6
  assert table + series + image == 28 and table + 4 * 3 + image == 22
  assert raw_features.too_large(make_split(), ("table", "series", "image")) == message
