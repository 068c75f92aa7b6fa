import hashlib
import inspect as standard_inspect
import json
import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from data_prep import fixtures, inspect
from data_prep.read import contents
from data_prep.write import pickle_writer


class Bomb:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.system, (f"touch {self.path}",)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
  """Opens a fixture, made once, as (path, manifest)."""
  folder, cache = tmp_path_factory.mktemp("fixtures"), {}

  def open_fixture(name, mode="easy"):
    if (name, mode) not in cache:
      manifest = fixtures.make_fixture(
        name, folder / f"{name}-{mode}", mode=mode, num_examples=None
      )
      cache[name, mode] = folder / f"{name}-{mode}" / manifest["file"], manifest
    return cache[name, mode]

  return open_fixture


@pytest.mark.parametrize("name", fixtures.DATASETS)
def test_every_fixture_is_recognised(made, name):
  path, manifest = made(name)
  report = inspect.inspect_file(path)
  assert report["error"] is None and report["blocked_globals"] == []
  assert report["release"]["name"] == name and not report["release"]["exact"]
  # It differs from the published file in nothing but the number of rows.
  assert all("rows" in line for line in report["release"]["differences"])
  assert report["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() == manifest["sha256"]
  assert (report["kind"], report["protocol"]) == ("pickle", 3)
  json.dumps(report)


def test_counts_of_a_split_are_those_of_the_arrays(made):
  path, manifest = made("mustard", "hard")
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


def test_mimic_labels_follow_the_rule_of_the_benchmark(made):
  path, _ = made("mimic", "hard")
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


def test_a_hostile_file_is_described_but_not_run(tmp_path, capsys):
  sentinel = tmp_path / "ran"
  path = tmp_path / "mosi_data.pkl"
  path.write_bytes(pickle.dumps({"train": {"text": np.ones(3), "x": Bomb(sentinel)}}, 4))
  report = inspect.inspect_file(path)
  assert report["blocked_globals"] == [f"{os.name}.system"] and "refused" in report["error"]
  assert "schema" not in report and not sentinel.exists()
  assert inspect.main([str(path)]) == 1
  printed = capsys.readouterr().out
  assert f"BLOCKED   '{os.name}.system'" in printed and "ERROR" in printed
  assert not sentinel.exists()
  pickle.loads(path.read_bytes())
  assert sentinel.exists()  # it would have


def test_json_under_the_name_of_a_pickle_is_read_as_json(tmp_path):
  path = tmp_path / "data_splits_val.pkl"
  path.write_text(json.dumps({"1": {"train": ["1026_IEO_ANG_HI.wav-3"], "val": []}}))
  report = inspect.inspect_file(path)
  assert report["kind"] == "json" and report["error"] is None
  assert report["schema"]["entries"]["1"]["entries"]["train"]["length"] == 1
  assert any("JSON text" in note for note in report["notes"])
  path.write_text("[1, 2]]")
  assert "no valid JSON" in inspect.inspect_file(path)["error"]
  path.write_bytes(b"[1, \x8c]")
  assert "no valid JSON" in inspect.inspect_file(path)["error"]


def test_wrong_cut_off_and_misnamed_files_say_so(made, tmp_path, capsys):
  page = tmp_path / "humor.pkl"
  page.write_text("<html><title>Quota exceeded</title></html>")
  assert inspect.main([str(page)]) == 0
  assert "HTML page titled 'Quota exceeded'" in capsys.readouterr().out
  page.write_bytes(made("mustard")[0].read_bytes())
  notes = inspect.inspect_file(page)["notes"]
  assert "the file is named like urfunny, but holds mustard" in notes
  page.write_bytes(page.read_bytes()[:100_000])
  assert inspect.main([str(page)]) == 1
  assert "truncated" in capsys.readouterr().out
  assert inspect.main([str(tmp_path / "none")]) == 1
  assert "none" in capsys.readouterr().err


def test_the_command_runs_and_shadows_no_module(made, tmp_path):
  path = tmp_path / "a.pkl"
  pickle_writer.dump(
    {"train": {"text": np.array([1.0, np.nan]), "n": np.float32(2)}}, path, numpy_spelling="old"
  )
  command = [sys.executable, "-m", "data_prep.inspect", str(path)]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  assert "text: float64 2  (nan 1, min 1, max 1)" in done.stdout
  done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
  report = json.loads(done.stdout)
  assert report["schema"]["entries"]["train"]["entries"]["text"]["nan"] == 1
  assert report["release"]["name"] is None
  assert "numpy.core.multiarray._reconstruct" in report["globals"]
  assert standard_inspect.__file__ != inspect.__file__ and hasattr(standard_inspect, "signature")
