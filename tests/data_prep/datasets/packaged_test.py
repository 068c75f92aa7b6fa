"""Which rows of the packages' files become which arrays."""

import hashlib
import json

import numpy as np
import pytest

from data_prep import open as open_command
from data_prep.datasets import packaged
from tests.data_prep.packages import TASKS, make_files, register, write_wheel


@pytest.fixture(autouse=True)
def known(monkeypatch):
  register(monkeypatch)


def test_htad_has_every_row_once_and_every_class_in_its_shares(tmp_path):
  write_wheel(tmp_path)
  said = open_command.make("htad", tmp_path, tmp_path / "out")
  rows = {}
  for split, share in zip(("train", "validation", "test"), (12, 4, 4), strict=True):
    found = np.load(tmp_path / "out" / f"{split}.npz")
    rows[split] = found["ids"]
    np.testing.assert_array_equal(found["label"], np.array(TASKS)[found["ids"] % 4])
    np.testing.assert_array_equal(found["audio"], 1000 * found["ids"][:, None] + np.arange(3) + 0.5)
    np.testing.assert_array_equal(found["motion"], 1000 * found["ids"][:, None] + [3.5, 4.5])
    assert np.unique(found["label"], return_counts=True)[1].tolist() == [share] * 4
  np.testing.assert_array_equal(np.sort(np.concatenate(list(rows.values()))), np.arange(80))
  assert said["num_examples"] == {"train": 48, "validation": 16, "test": 16}
  assert said == json.loads((tmp_path / "out" / "dataset.json").read_text())
  assert (said["package"], said["version"]) == ("multiviewstacking", "0.7.5")
  assert "education" in said["licence"] and said["classes"] == [*TASKS]
  content = make_files()[packaged._HTAD_CSV]
  assert said["files"] == {packaged._HTAD_CSV: hashlib.sha256(content).hexdigest()}


def test_matches_match_and_one_modality_says_nothing(tmp_path):
  write_wheel(tmp_path)
  open_command.make("htad", tmp_path, tmp_path / "htad")
  open_command.make("htad_match", tmp_path, tmp_path / "out")
  for split, count in packaged._MATCHED.items():
    found = np.load(tmp_path / "out" / f"{split}.npz")
    rows = [(found[name][:, 0] // 1000).astype(int) for name in ("audio", "motion")]
    np.testing.assert_array_equal(rows[0] % 4 == rows[1] % 4, found["label"])
    assert len(found["label"]) == count
    allowed = np.load(tmp_path / "htad" / f"{split}.npz")["ids"]
    assert {*np.concatenate(rows)} <= {*allowed}
    for row in rows:  # P(match | activity) is 1/2 for every activity
      share = [found["label"][row % 4 == k].mean() for k in range(4)]
      np.testing.assert_allclose(share, 0.5, atol=5 * 0.5 / np.sqrt(count / 4))
