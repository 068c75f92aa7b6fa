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
from data_prep.write import pickle_writer


class Bomb:
  def __init__(self, path):
    self.path = path

  def __reduce__(self):
    return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("name", fixtures.DATASETS)
def test_every_fixture_is_recognised(opened, name):
  path, manifest = opened(name)
  report = inspect.inspect_file(path)
  assert report["error"] is None and report["blocked_globals"] == []
  assert report["release"]["name"] == name and not report["release"]["exact"]
  # It differs from the published file in nothing but the number of rows.
  assert all("rows" in line for line in report["release"]["differences"])
  assert report["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() == manifest["sha256"]
  assert (report["kind"], report["protocol"]) == ("pickle", 3)
  json.dumps(report)


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


def test_wrong_cut_off_and_misnamed_files_say_so(opened, tmp_path, capsys):
  page = tmp_path / "humor.pkl"
  page.write_text("<html><title>Quota exceeded</title></html>")
  assert inspect.main([str(page)]) == 0
  assert "HTML page titled 'Quota exceeded'" in capsys.readouterr().out
  page.write_bytes(opened("mustard")[0].read_bytes())
  notes = inspect.inspect_file(page)["notes"]
  assert "the file is named like urfunny, but holds mustard" in notes
  page.write_bytes(page.read_bytes()[:100_000])
  assert inspect.main([str(page)]) == 1
  assert "truncated" in capsys.readouterr().out
  assert inspect.main([str(tmp_path / "none")]) == 1
  assert "none: expected a file, found nothing" in capsys.readouterr().err


def test_the_command_runs_and_shadows_no_module(opened, tmp_path):
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
