"""Arrays of one split, read and checked one by one: absent modalities, lengths, ids of tokens."""

import numpy as np
import pytest

from synjax.data import array_split
from tests.data.archives import add, load, make_split, write


def test_ids_of_tokens_are_no_quantities(tmp_path):
  tokens = add(tokens=lambda f: np.random.default_rng(1).integers(0, 30522, (len(f["label"]), 12)))
  with pytest.raises(
    ValueError, match=r"tokens: expected numbers, found int64 .*ids of tokens.*standardised"
  ):
    load(write(tmp_path / "ids", tokens))
  stacked = add(
    bert=lambda f: np.random.default_rng(1).integers(0, 30522, (len(f["label"]), 3, 12))
  )
  with pytest.raises(ValueError, match="bert: expected numbers, .*ids of tokens"):
    load(write(tmp_path / "stacked", stacked))
  counts = add(counts=lambda f: np.random.default_rng(1).integers(0, 30, (len(f["label"]), 12)))
  dataset = load(write(tmp_path / "counts", counts))
  assert "counts [vector 12, integers taken as numbers]" in dataset.facts["modalities"]


@pytest.mark.parametrize(
  "make",
  [
    lambda rng, n: np.where(rng.random((n, 12)) < 0.3, -1, rng.integers(0, 30522, (n, 12))),
    lambda rng, n: rng.integers(0, 30522, (n, 12)).astype(np.float64),
  ],
)
def test_ids_of_tokens_are_known_by_padding_and_as_floats(tmp_path, make):
  tokens = add(tokens=lambda f: make(np.random.default_rng(1), len(f["label"])))
  with pytest.raises(ValueError, match="tokens: expected numbers, .*ids of tokens"):
    load(write(tmp_path, tokens))


@pytest.mark.parametrize(
  "make",
  [
    lambda rng, n: rng.poisson(3, (n, 12)).astype(float),
    lambda rng, n: np.round(rng.lognormal(8, 2, (n, 12))),  # amounts
    lambda rng, n: (
      np.round(rng.normal(size=(n, 12)) * 50 + 1000) * [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 9]
    ),
  ],
)
def test_counts_and_amounts_are_no_ids(tmp_path, make):
  assert (
    "counts"
    in load(
      write(tmp_path, add(counts=lambda f: make(np.random.default_rng(1), len(f["label"]))))
    ).modalities
  )


@pytest.mark.parametrize("how", ["length", "present", "both"])
def test_examples_may_lack_a_modality(tmp_path, how):
  def change(split, found):
    count = len(found["label"])
    here = np.arange(count) % 4 > 0 if split == "train" else np.ones(count, bool)
    if how != "present":
      found["sensor_length"] = np.where(here, 5, 0)
    if how != "length":
      found["sensor_present"] = here.astype(int)
      found["sensor"][~here] = np.nan

  dataset = load(write(tmp_path, change), standardize=False)
  here = np.arange(40) % 4 > 0
  batch = dataset.train.read(np.arange(40))
  assert batch["sensor_present"].dtype == bool
  np.testing.assert_array_equal(batch["sensor_present"], here)
  np.testing.assert_array_equal(
    batch["sensor"], np.where(here[:, None, None], make_split(40)["sensor"], 0).astype(np.float32)
  )
  for split in (dataset.val, dataset.test):  # of the same program
    assert split.arrays["sensor_present"].all()
  assert dataset.facts["examples without"] == {"sensor": {"train": 10, "val": 0, "test": 0}}
  if how != "present":
    np.testing.assert_array_equal(batch["sensor_length"], np.where(here, 5, 0))
    assert dataset.train.lengths.min() == 1  # of a batch of absent ones too
  assert not [name for name in load(write(tmp_path)).train.arrays if name.endswith("_present")]


ABSENT = {
  "rows of NaN": (
    {
      "sensor": lambda f: np.where(
        np.arange(len(f["label"]))[:, None, None] % 8, f["sensor"], np.nan
      )
    },
    r"sensor: .*5 rows \(0, 8, 16, 24, 32\).*sensor_present = False",
  ),
  "a NaN": (
    {"table": lambda f: np.where(f["table"] == f["table"][3, 2], np.nan, f["table"])},
    "table: expected finite numbers, found NaN or infinity in row 3; .*table_present",
  ),
  "presence of another kind": (
    {"table_present": lambda f: np.arange(len(f["label"]))},
    r"table_present: expected booleans .*found int64\[40\]",
  ),
  "presence against length": (
    {
      "sensor_length": lambda f: np.where(np.arange(len(f["label"])) == 6, 0, 2),
      "sensor_present": lambda f: np.ones(len(f["label"]), bool),
    },
    "sensor_length: expected at least 1 where sensor_present is True, found 0 in row 6",
  ),
  "nobody has it": (
    {"sensor_present": lambda f: np.zeros(len(f["label"]), bool)},
    "sensor: expected training examples that have it, found none",
  ),
  "examples without anything": (
    dict.fromkeys(("sensor_present", "table_present"), lambda f: np.arange(len(f["label"])) != 7),
    "expected at least one modality in every example, found none in row 7",
  ),
}


@pytest.mark.parametrize("case", ABSENT)
def test_what_presence_says_must_fit(tmp_path, case):
  arrays, message = ABSENT[case]
  with pytest.raises(ValueError, match=rf"train.npz: .*{message}"):
    load(write(tmp_path, add(**arrays)))


def test_a_split_stored_with_another_kind_of_numbers_is_refused(tmp_path):
  def change(split, found):
    if split == "test":
      found["table"] = found["table"].astype(int)

  with pytest.raises(ValueError, match=r"test.npz: table: expected floats .*found int64\[16, 4\]"):
    load(write(tmp_path, change))


def test_features_that_float32_makes_alike_are_refused_and_small_or_constant_ones_are_not():
  """Against the spacing of float32: 128 at 1.7e9, 2**-23 at 1."""
  rng = np.random.default_rng(0)
  noise = rng.normal(size=(200, 1))
  kept = np.c_[
    noise, noise + 1e4, noise * 1e-30, np.full((200, 1), 0.1), np.full((200, 1), 1.7e9 + 1)
  ]
  assert not array_split.lost_in_float32(kept).any()
  lost = np.c_[noise + 1.7e9, noise * 1e-50, 1 + 1e-8 * noise]
  assert array_split.lost_in_float32(lost).all()
  stored = noise.astype(np.float32) + np.float32(1e4)  # nobody has more digits than that
  assert not array_split.lost_in_float32(stored).any()


@pytest.mark.parametrize("name", ["table", "sensor"])
def test_inputs_that_are_not_standardised_keep_their_digits_or_are_refused(tmp_path, name):
  def change(_, found):
    found["sensor_length"] = np.full(len(found["label"]), 4)
    found[name] = found[name] + 1.7e9
    found["sensor"][:, 4:] = 0

  folder = write(tmp_path, change)
  message = rf"train.npz: {name}: expected numbers that float32 tells apart, found float64 from 169"
  with pytest.raises(ValueError, match=message):
    load(folder, standardize=False)
