import pickle

import numpy as np
import pytest

from data_prep import inspect
from data_prep.read import contents


def test_counts_of_a_split_are_those_of_the_arrays(opened):
  path, manifest = opened("mustard", "hard")
  tree = pickle.loads(path.read_bytes())
  report = inspect.inspect_file(path)
  for split, part in tree.items():
    node, found = report["schema"]["entries"][split]["entries"], report["splits"][split]
    for name in ("vision", "audio", "text"):
      array = part[name]
      assert node[name]["shape"] == list(array.shape) and node[name]["dtype"] == "float64"
      assert node[name]["nan"] == np.isnan(array).sum()
      assert node[name]["posinf"] == np.isposinf(array).sum()
      assert node[name]["neginf"] == np.isneginf(array).sum()
      finite = array[np.isfinite(array)]
      assert node[name]["overflow"] == (np.abs(finite) > 3.5e38).sum()
      assert (node[name]["min"], node[name]["max"]) == (finite.min(), finite.max())
    empty = [not row.any() for row in part["text"]]
    assert found["rows_without_text"] == sum(empty)
    assert found["rows_without_text"] == manifest["rows"][split] - manifest["rows_kept"][split]
    first = [int(np.flatnonzero(row.any(1))[0]) for row in part["text"] if row.any()]
    assert found["length_max"] == 50 - min(first) and found["length_min"] == 50 - max(first)
    assert found["rows_nonzero_before_start"] == 0
    assert found["rows_without_vision"] == sum(not row.any() for row in part["vision"])
    values, counts = np.unique(part["labels"], return_counts=True)
    assert report["labels"][split]["values"] == {
      f"{v:g}": n for v, n in zip(values, counts, strict=True)
    }
  train = report["schema"]["entries"]["train"]["entries"]
  assert train["vision"]["nan"] == train["vision"]["overflow"] == train["audio"]["posinf"] == 1
  assert report["splits"]["valid"]["rows_vision_above_1e6"] == 1


def test_content_before_the_first_word_is_counted(tmp_path):
  text, vision = np.zeros((3, 6, 300)), np.zeros((3, 6, 20))
  text[:, 3:], vision[:, 3:] = 1, 1
  vision[1, 2] = 1
  part = {
    "vision": vision,
    "audio": np.zeros((3, 6, 5)),
    "text": text,
    "labels": np.zeros(3),
    "id": [1, 2, 2],
  }
  found = contents.describe_tree({"train": part, "dev": {**part, "id": [7, 8, 1]}})
  assert found["splits"]["train"]["rows_nonzero_before_start"] == 1
  assert found["splits"]["valid"]["rows_without_audio"] == 3
  assert found["notes"] == [
    "1 segment ids repeat within a split", "1 segment ids occur in more than one split"
  ]  # fmt: skip


def test_mimic_labels_follow_the_rule_of_the_benchmark(opened):
  path, _ = opened("mimic", "hard")
  report, tree = inspect.inspect_file(path), pickle.loads(path.read_bytes())
  classes = [
    next((k for k in range(1, 6) if row[k] is not None and row[k] > 0), 0)
    for row in tree["adm_labels_all"]
  ]
  assert report["labels"]["mortality6"] == np.bincount(classes, minlength=6).tolist()
  assert report["labels"]["adm_labels_missing"] == 2
  assert report["labels"]["icd9_positive_rate"][7] == pytest.approx(tree["y_icd9"][:, 7].mean())
  series = report["schema"]["entries"]["ep_tdata"]
  assert series["nan"] > 0 and series["posinf"] > 0 and series["neginf"] > 0


@pytest.mark.parametrize("kind", ["f8", "f4", "f2", "i8", "u1", "b1"])
def test_values_are_counted_across_blocks(kind, monkeypatch):
  monkeypatch.setattr(contents, "_BLOCK", 7)
  array = (np.arange(60).reshape(20, 3) % 100).astype(kind)
  if kind[0] == "f":
    array[3, 1], array[19, 2], array[0, 0], array[10] = np.nan, np.inf, -np.inf, 5
  found = contents.count_values(array)
  finite = array[np.isfinite(array)]
  assert (found["min"], found["max"]) == (finite.min(), finite.max())
  if kind[0] == "f":
    assert [found[k] for k in ("nan", "posinf", "neginf", "overflow")] == [1, 1, 1, 0]
