"""Features standardised on training examples, against NumPy in float64 on what is real."""

import numpy as np
import pytest

from synjax import data
from synjax.data import standardize
from tests.data.archives import COUNTS, add, load, make_config, write


def padded(count, seed=0):
  """A padded sequence whose padding holds what must not count, and who has it at all."""
  rng = np.random.default_rng([seed, count, 7])
  values = rng.normal(3, 2, (count, 5, 2))
  lengths = rng.integers(0, 6, count)
  values[np.arange(5) >= lengths[:, None]] = 1e6
  present = rng.integers(0, 2, count).astype(bool) & (lengths > 0)
  values[~present] = np.nan
  return values, np.where(present, lengths, 0), present


def with_song(split, found):
  song, lengths, present = padded(COUNTS[split])
  found |= {"song": song, "song_length": lengths, "song_present": present}
  found["table"] = found["table"] * [1, 10, 1e-3, 1] + [0, 5, 0, -2]


def test_values_are_those_of_numpy_in_float64(tmp_path):
  dataset = load(write(tmp_path, with_song))
  archives = {s: dict(np.load(tmp_path / f"{s}.npz")) for s in COUNTS}
  train = archives["train"]
  mean, std = train["table"].mean(0), train["table"].std(0)
  real = (np.arange(5) < train["song_length"][:, None]) & train["song_present"][:, None]
  steps = train["song"][real]
  for split, name in (("train", "train"), ("val", "validation"), ("test", "test")):
    found, stored = getattr(dataset, split).arrays, archives[name]
    np.testing.assert_allclose(found["table"], (stored["table"] - mean) / std, rtol=1e-5, atol=1e-6)
    here = np.arange(5) < (stored["song_length"] * stored["song_present"])[:, None]
    expected = np.where(here[..., None], (stored["song"] - steps.mean(0)) / steps.std(0), 0)
    np.testing.assert_allclose(found["song"], expected, rtol=1e-5, atol=1e-6)
    assert found["song"].dtype == np.float32


@pytest.mark.parametrize("held_out", [False, True])
def test_other_splits_never_enter_the_statistics(tmp_path, held_out):
  counts = {"train": 40, "test": 16} if held_out else COUNTS
  before = load(write(tmp_path / "a", splits=counts))
  chosen = before.val.origin.index  # of train.npz, where there is no validation.npz

  def move(split, found):
    rows = slice(None) if split != "train" else chosen if held_out else slice(0)
    found["sensor"][rows] += 100

  after = load(write(tmp_path / "b", move, counts))
  assert after.standardization == before.standardization
  np.testing.assert_array_equal(after.train.arrays["sensor"], before.train.arrays["sensor"])
  assert (np.abs(after.val.arrays["sensor"]) > 50).all()


def test_scale_and_offset_of_a_feature_change_nothing(tmp_path):
  """2^k and whole offsets: no rounding of the stored numbers, so that what is left is ours."""
  rounded = lambda f: np.round(f["table"] * 1024) / 1024  # noqa: E731
  before = load(write(tmp_path / "a", add(table=rounded)))
  moved = add(table=lambda f: rounded(f) * [1, 2.0**40, 2.0**-40, 1] + [2.0**30, 0, 0, -(2.0**25)])
  after = load(write(tmp_path / "b", moved))
  for split in ("train", "val", "test"):
    found, expected = (getattr(d, split).arrays["table"] for d in (after, before))
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)


def test_a_feature_that_is_constant_in_training_is_0_everywhere(tmp_path):
  def change(split, found):
    found["table"][:, 2] = 1e9 + 0.1 + (split == "test") * np.arange(COUNTS[split])

  dataset = load(write(tmp_path, change))
  assert dataset.standardization["table"]["deviation"][2] == 0
  for split in (dataset.train, dataset.val, dataset.test):
    assert not split.arrays["table"][:, 2].any() and np.isfinite(split.arrays["table"]).all()


def test_far_values_are_cut_off_and_tiny_deviations_are_deviations():
  values = np.array([[1e-200, 1e30], [3e-200, -1e30]])
  real = np.ones(2, bool)
  found = standardize.measure(values, real)
  np.testing.assert_allclose(found["deviation"], [1e-200, 1e30])
  np.testing.assert_allclose(standardize.apply(values, real, found), [[-1, 1], [1, -1]])
  stray = standardize.apply(np.array([[1.0, 0], [-1.0, 0]]), real, found)
  np.testing.assert_array_equal(stray[:, 0], [1e6, -1e6])


def test_pictures_and_labels_stay_as_they_are_and_false_leaves_all(tmp_path):
  rng = np.random.default_rng(0)
  photo = lambda f: rng.integers(0, 256, (len(f["label"]), 8, 8, 3), dtype=np.uint8)  # noqa: E731
  folder = write(tmp_path, add(photo=photo, label=lambda f: f["table"].sum(1) * 100))
  dataset, stored = load(folder), np.load(folder / "train.npz")
  np.testing.assert_array_equal(dataset.train.arrays["photo"], stored["photo"])
  np.testing.assert_allclose(dataset.train.labels["label"][:, 0], stored["label"], rtol=1e-6)
  assert sorted(dataset.standardization) == ["sensor", "table"]
  plain = load(folder, standardize=False)
  np.testing.assert_allclose(plain.train.arrays["table"], stored["table"], rtol=1e-6)
  assert plain.standardization == {} and plain.fingerprint == dataset.fingerprint


def test_statistics_that_are_given_are_those_that_are_used(tmp_path):
  folder = write(tmp_path)
  config = make_config(folder)
  mean = {"sensor": [1.0, 2, 3], "table": [0.0, 1, 2, 3]}
  given = {m: {"mean": values, "deviation": [2.0] * len(values)} for m, values in mean.items()}
  dataset, stored = data.load(config, given), np.load(folder / "test.npz")
  for name in given:
    expected = (stored[name] - mean[name]) / 2
    np.testing.assert_allclose(dataset.test.arrays[name], expected, rtol=1e-5, atol=1e-6)
  with pytest.raises(ValueError, match=r"train.npz: table: expected the features .* 3, found 4"):
    data.load(config, given | {"table": given["sensor"]})
