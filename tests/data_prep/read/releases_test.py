import numpy as np
import pytest

from data_prep.read import releases


def zeros(*shape, dtype=np.float64):
  """An array of any size that takes no memory."""
  return np.broadcast_to(np.zeros((), dtype), shape)


def affect(counts, vision, audio, length, ids, text_dtype=np.float64):
  return {
    split: {
      "vision": zeros(n, length, vision), "audio": zeros(n, length, audio),
      "text": zeros(n, length, 300, dtype=text_dtype), "labels": zeros(n, 1, 1), "id": ids(n),
    }
    for split, n in zip(releases.SPLITS, counts, strict=True)
  }  # fmt: skip


def table(n):
  return zeros(n, 3, dtype="S14")


def number(n):
  return zeros(n, 1)


def vector(n):
  return zeros(n, dtype="U7")


def mimic(n=32616, width=12):
  return {
    "ep_tdata": zeros(n, 24, width), "adm_features_all": zeros(n, 5),
    "adm_labels_all": zeros(n, 6), "y_icd9": zeros(n, 20),
  }  # fmt: skip


PUBLISHED = {
  "mosi": lambda: affect((1284, 229, 686), 20, 5, 50, table, np.float32),
  "mosei": lambda: affect((16265, 1869, 4643), 35, 74, 50, table),
  "urfunny": lambda: affect((8074, 1034, 1058), 371, 81, 20, number),
  "mustard": lambda: affect((414, 138, 138), 371, 81, 50, vector),
  "mimic": mimic,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_dimensions_are_recognised_exactly(name):
  match = releases.match(PUBLISHED[name]())
  assert (match.release.name, match.exact, match.differences) == (name, True, ())


def test_variants_of_one_layout_are_told_apart():
  for vision, audio, ids, name in (
    (35, 74, list, "mosi_raw"), (47, 74, table, "mosi_47"),
    (713, 74, list, "mosei_raw"), (35, 74, table, "mosei"),
  ):  # fmt: skip

    def make(n, ids=ids):
      return ["a[0]"] * n if ids is list else ids(n)

    assert releases.match(affect((3, 2, 2), vision, audio, 50, make)).release.name == name


def test_sizes_of_section_0_add_up():
  assert 32616 * (288 + 5 + 6 + 20) * 8 == 83_236_032
  total = {r.name: sum((r.counts or r.counts_kept or {}).values()) for r in releases.RELEASES}
  assert (total["mosi"], total["mosi_raw"], total["mosei"], total["mosei_raw"]) == (
    2199,
    2183,
    22777,
    22860,
  )
  assert (total["urfunny"], total["mustard"], total["mimic"]) == (10166, 690, 32616)


def test_differences_name_what_is_expected_and_found():
  tree = affect((414, 138, 100), 371, 81, 50, vector, np.float32)
  del tree["valid"]
  lines = releases.match(tree).differences
  assert "valid: expected a split, found none" in lines
  assert "test rows: expected 138, found 100" in lines
  assert "train/text dtype: expected float64, found float32" in lines
  lines = releases.match(mimic(100, 15) | {"y_icd9": None}).differences
  assert "ep_tdata: expected width 12, found shape (100, 24, 15)" in lines
  assert (
    "y_icd9: expected an array, found NoneType" in lines
    and "rows: expected 32,616, found 100" in lines
  )


def test_unknown_trees_match_nothing():
  assert releases.match([1]).dataset is None
  assert releases.match({"a": 1, "train": [1]}).dataset is None
  match = releases.match(affect((3, 3, 3), 36, 74, 50, table))
  assert match.release is None and match.dataset == "affect"
  assert "found vision 36, audio 74, text 300" in match.differences[0]


def test_aliases_of_validation_and_the_text_rule():
  assert releases.split_keys({"train": 0, "dev": 1, "test": 2, "folds": 3}) == {
    "train": "train", "valid": "dev", "test": "test"
  }  # fmt: skip
  text = np.ones((5, 2, 3))
  text[1], text[2, 0, 0] = 0, np.nan
  text[3, 0], text[3, 1] = 1, -1  # sums to zero, so the published rule drops it
  assert releases.count_with_text({"text": text}) == 3
  with pytest.raises(ValueError, match="expected one of"):
    releases.get("imdb")


def test_time_steps_weigh_more_than_counts():
  # Both are 371 and 81 wide: 50 steps make it MUStARD, whatever the rows.
  assert releases.match(affect((8074, 1034, 1058), 371, 81, 50, vector)).release.name == "mustard"
  assert releases.match(affect((414, 138, 138), 371, 81, 20, vector)).release.name == "urfunny"
