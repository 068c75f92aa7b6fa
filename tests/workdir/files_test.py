import json
import math
import pathlib

import pytest

from synjax.workdir import files

ROOT = pathlib.Path(__file__).parents[2] / "synjax"


def test_a_write_that_fails_leaves_the_old_content(tmp_path, monkeypatch):
  file = tmp_path / "a.json"
  files.write_atomically(file, "old")

  def full(*_):
    raise OSError("no space left")

  monkeypatch.setattr(files.os, "replace", full)
  with pytest.raises(OSError, match="no space left"):
    files.write_atomically(file, "new")
  assert file.read_text() == "old"
  assert list(tmp_path.iterdir()) == [file]


def test_a_file_where_a_folder_should_be_is_named_with_its_flag(tmp_path):
  file = tmp_path / "file"
  file.touch()
  for path in (file, file / "a" / "b"):
    with pytest.raises(ValueError, match=f"--out: expected a folder, found {path}, and {file} is"):
      files.require_folder(path, "--out")
  for path in (tmp_path, tmp_path / "new" / "folder"):
    files.require_folder(path, "--out")


def test_numbers_that_are_not_finite_are_null_at_any_depth_and_come_back_as_nan():
  text = files.to_json({"a": [math.nan, (1.0, -math.inf)], "b": {"c": math.inf, "d": "NaN"}})
  assert json.loads(text) == {"a": [None, [1.0, None]], "b": {"c": None, "d": "NaN"}}
  found = files.numbers({"x": None, "y": 2, "z": "t"})
  assert math.isnan(found["x"]) and found["y"] == 2 and found["z"] == "t"


def test_names_of_a_workdirs_files_are_written_once():
  names = (files.CONFIG, files.RUN, files.RESULTS, files.EVALUATION, files.METRICS)
  names += (files.EMBEDDINGS, files.GAUSSIANITY, files.CHECKPOINTS, files.STANDARDIZATION)
  names += (files.SCHEMA, files.PROBES)
  literals = tuple(f'"{name}"' for name in names if name != files.CHECKPOINTS)
  found = [
    f"{module.relative_to(ROOT)}: {line.strip()}"
    for module in sorted(ROOT.rglob("*.py"))
    for line in module.read_text().splitlines()
    if any(name in line for name in literals) or f'/ "{files.CHECKPOINTS}"' in line
  ]
  # Folders of pre-trained models have a config.json of their own.
  elsewhere = ("workdir/files.py", "models/pretrained/")
  assert [line for line in found if not line.startswith(elsewhere)] == []
