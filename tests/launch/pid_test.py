"""launch.pid, as a user runs it."""

import json
import subprocess
import sys

import numpy as np
import pytest

from tests.launch.commands_test import ROOT


def run(*arguments):
  return subprocess.run(
    [sys.executable, "-m", "launch.pid", *arguments], cwd=ROOT, capture_output=True, text=True
  )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """An exclusive or of a sequence's and a table's bit."""
  folder = tmp_path_factory.mktemp("data")
  rng = np.random.default_rng(0)
  for split, count in (("train", 160), ("validation", 20), ("test", 20)):
    a, b = rng.integers(2, size=(2, count))
    sound = (2 * a[:, None, None] - 1) + 0.3 * rng.normal(size=(count, 4, 2))
    table = (2 * b[:, None] - 1) + 0.3 * rng.normal(size=(count, 3))
    np.savez(folder / f"{split}.npz", sound=sound, table=table, label=a ^ b)
  return folder


def test_the_synergy_of_a_folder_is_found_said_and_drawn(folder, tmp_path):
  done = run(f"--data={folder}", f"--out={tmp_path}", "--bootstraps=20", "--shuffles=2")
  assert done.returncode == 0, done.stderr
  content = json.loads((tmp_path / "pid.json").read_text())
  assert [row["estimator"] for row in content["pairs"]] == ["clusters", "classifiers"]
  for row in content["pairs"]:
    assert row["modalities"] == ["sound", "table"] and row["examples"] == 200
    assert row["parts"]["synergy"]["estimate"] > 0.6 and row["parts"]["synergy"]["distinguishable"]
    assert not row["parts"]["redundancy"]["distinguishable"]
    assert row["label_entropy"] == pytest.approx(1, abs=0.05)
  assert "sound + table about label, by clusters (200 examples" in done.stdout
  assert "only in sound" in done.stdout and "not distinguishable from zero" in done.stdout
  *_, said = [line for line in done.stdout.splitlines() if "no bound on what the data hold" in line]
  assert "launch.pid --workdir=" in said and said == content["caveat"]
  assert (tmp_path / "pid.png").read_bytes().startswith(b"\x89PNG")
  of = f"raw features of {folder}, all splits together (train 160, validation 20, test 20)"
  assert content["of"] == of and f"pid of {of}" in done.stdout
  assert content["data_fingerprint"] and "launch.pid" in content["command"]


def test_more_clusters_than_examples_allow_are_refused_in_one_line(folder):
  done = run(f"--data={folder}", "--clusters=30")
  assert done.returncode == 1 and "Traceback" not in done.stderr
  assert "found 200 examples for 30 x 30 x 2" in done.stderr and "fewer clusters" in done.stderr
  assert {path.name for path in folder.iterdir()} == {"train.npz", "validation.npz", "test.npz"}
