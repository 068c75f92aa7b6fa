import hashlib
import json
import subprocess
import sys
import types

import pytest

from data_prep import fixtures
from data_prep.read import pickle_scan


@pytest.mark.parametrize("name", fixtures.DATASETS)
def test_same_seed_same_bytes_other_seed_other_bytes(tmp_path, name):
  first = fixtures.make_fixture(name, tmp_path / "a", mode="hard")
  again = fixtures.make_fixture(name, tmp_path / "b", mode="hard")
  other = fixtures.make_fixture(name, tmp_path / "c", 1, mode="hard")
  assert first == again and first["sha256"] != other["sha256"]
  path = tmp_path / "a" / first["file"]
  assert hashlib.sha256(path.read_bytes()).hexdigest() == first["sha256"]
  assert json.loads(path.with_name(path.name + ".manifest.json").read_text()) == first
  assert sorted(p.name for p in path.parent.iterdir()) == [
    first["file"],
    first["file"] + ".manifest.json",
  ]


def test_the_command_writes_what_the_function_does(tmp_path):
  command = [sys.executable, "-m", "data_prep.fixtures", "urfunny", f"--out={tmp_path}"]
  command += ["--num_examples=16", "--numpy_spelling=old", "--seed=3", "--signal=synergy"]
  done = subprocess.run(command, capture_output=True, text=True, check=True)
  expected = fixtures.make_fixture(
    "urfunny", tmp_path / "again", 3, 16, numpy_spelling="old", signal="synergy"
  )
  assert json.loads(done.stdout)["sha256"] == expected["sha256"]
  modules = {module for module, _ in pickle_scan.scan(tmp_path / "humor.pkl").globals}
  assert "numpy.core.multiarray" in modules and not any("_core" in module for module in modules)
  assert fixtures.main(["mosi", f"--out={tmp_path}", "--num_examples=3"]) == 1


def test_fixtures_of_folders_are_made_by_their_modules(monkeypatch, tmp_path, capsys):
  module = types.ModuleType("data_prep.datasets.mmimdb.fixture")
  module.make = lambda out_dir, **options: {"out": str(out_dir), **options}
  monkeypatch.setitem(sys.modules, "data_prep.datasets.mmimdb.fixture", module)
  expected = {
    "out": "d", "seed": 4, "num_examples": 7, "cases": ["x"], "signal": "mixed", "strength": 2.0,
  }  # fmt: skip
  assert fixtures.make_fixture("mmimdb", "d", 4, 7, cases=["x"], strength=2.0) == expected
  assert fixtures.make_fixture("mmimdb", "d", mode="hard")["mode"] == "hard"
  with pytest.raises(ValueError, match="mmimdb is no pickle"):
    fixtures.make_fixture("mmimdb", "d", protocol=2)
  assert fixtures.main(["mmimdb", "--out=d", "--seed=4"]) == 0
  assert json.loads(capsys.readouterr().out)["seed"] == 4
  with pytest.raises(ValueError, match="expected one of .*'mosi'.*'cremad'.* found 'x'"):
    fixtures.make_fixture("x", tmp_path)


@pytest.mark.parametrize(
  ("flag", "message"),
  [
    ("--seed=-1", "--seed: expected a whole number from 0, found -1"),
    ("--num_examples=1000000000000", "--num_examples: expected at most 100,000"),
    ("--out={file}", "--out: expected a folder"),
    ("--out={file}/below", "--out: expected a folder"),
  ],
)
def test_a_flag_that_cannot_be_is_named_in_one_line(tmp_path, capsys, flag, message):
  (tmp_path / "file").touch()
  for name in ("mosi", "vision_touch"):
    flags = [f"--out={tmp_path / 'new'}", flag.format(file=tmp_path / "file")]
    assert fixtures.main([name, *flags]) == 1
    assert capsys.readouterr().err.startswith(f"error: {message}")
  assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_does_not_fit_into_memory_is_one_line(tmp_path, monkeypatch, capsys):
  def full(*_, **__):
    raise MemoryError("Unable to allocate 8 GiB")

  monkeypatch.setattr(fixtures, "make_fixture", full)
  assert fixtures.main(["mosi", f"--out={tmp_path}"]) == 1
  assert capsys.readouterr().err == (
    "error: --num_examples: expected as many as fit into memory: Unable to allocate 8 GiB\n"
  )
