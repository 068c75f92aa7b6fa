"""Entries on disk: whole or not there, whoever dies, writes beside, or damages them."""

import logging
import os
import pathlib
import resource
import signal
import subprocess
import sys

import numpy as np
import pytest
from ml_collections import ConfigDict

from synjax.workdir import disk_cache, files

LARGE = np.arange(60_000, dtype=np.int32).reshape(300, 200)
SMALL = np.array([2.5, -1.0])
# Writes LARGE + 1 as an entry, waiting for a line of input in its middle.
WRITER = """
import pathlib, sys
import numpy as np
from synjax.workdir import disk_cache
large = 1 + np.arange(60_000, dtype=np.int32).reshape(300, 200)
with disk_cache.writing(pathlib.Path(sys.argv[1])) as append:
  append("large", large[:150], 300)
  print("half", flush=True)
  sys.stdin.readline()
  append("large", large[150:], 300)
  append("small", np.array([2.5, -1.0]), 2)
"""


def write(entry, cut=100):
  with disk_cache.writing(entry) as append:
    for start in range(0, len(LARGE), cut):
      append("large", LARGE[start : start + cut], len(LARGE))
    append("small", SMALL, len(SMALL))


def read(entry, rows=300):
  return disk_cache.read(entry, ("large",), rows)


def check(found, added=0):
  assert set(found) == {"large", "small"} and found["large"].dtype == np.int32
  np.testing.assert_array_equal(found["large"], LARGE + added)
  np.testing.assert_array_equal(found["small"], SMALL)


def start_writer(entry):
  process = subprocess.Popen(
    [sys.executable, "-c", WRITER, str(entry)], text=True,
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
  )  # fmt: skip
  assert process.stdout.readline() == "half\n"
  return process


def names(entry):
  return sorted(file.name for file in entry.iterdir())


@pytest.mark.parametrize("cut", [300, 100, 7])
def test_arrays_come_back_and_are_read_only_where_they_are_used(tmp_path, cut):
  assert read(tmp_path / "a") is None
  write(tmp_path / "a", cut)
  found = read(tmp_path / "a")
  check(found)
  assert isinstance(found["large"], np.memmap)
  assert names(tmp_path / "a") == ["done.json", "large.npy", "small.npy"]
  np.testing.assert_array_equal(np.load(tmp_path / "a" / "large.npy"), LARGE)


def test_a_place_is_the_configs_or_in_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  config = ConfigDict({"data": {"cache_dir": ""}})
  assert disk_cache.folder(config, "tokens") == tmp_path / ".cache" / "synjax" / "tokens"
  config.data.cache_dir = str(tmp_path / "here")
  assert disk_cache.folder(config, "features") == tmp_path / "here" / "features"


def test_a_killed_writer_leaves_no_entry_and_what_it_wrote_goes_later(tmp_path):
  process = start_writer(tmp_path / "a")
  process.send_signal(signal.SIGKILL)
  process.wait()
  (part,) = (tmp_path / "a").iterdir()
  assert read(tmp_path / "a") is None
  write(tmp_path / "a")
  check(read(tmp_path / "a"))
  assert part.exists()  # its writer might live
  os.utime(part, (0, 0))
  write(tmp_path / "a")
  assert names(tmp_path / "a") == ["done.json", "large.npy", "small.npy"]


def test_who_reads_sees_nothing_of_a_second_writer(tmp_path):
  process = start_writer(tmp_path / "a")
  write(tmp_path / "a")
  first = read(tmp_path / "a")
  check(first)
  process.communicate("\n", timeout=60)
  assert process.returncode == 0
  check(first)
  check(read(tmp_path / "a"), added=1)


def flip(position):
  def damage(entry):
    file = entry / "large.npy"
    content = bytearray(file.read_bytes())
    content[position] ^= 1
    file.write_bytes(content)

  return damage


@pytest.mark.parametrize(
  "damage",
  [
    flip(0),
    flip(40),
    flip(-1),
    lambda entry: os.truncate(entry / "large.npy", 5000),
    lambda entry: os.truncate(entry / "large.npy", 0),
    lambda entry: (entry / "small.npy").unlink(),
    lambda entry: (entry / "done.json").write_text(""),
    lambda entry: (entry / "done.json").write_text('{"files": 3}'),
    lambda entry: (entry / "done.json").write_text('{"files": {}}'),
    lambda entry: (entry / "done.json").write_text('{"files": {"large": {"bytes": 3}}}'),
  ],
)
def test_a_damaged_entry_is_said_and_made_again(tmp_path, caplog, damage):
  write(tmp_path / "a")
  damage(tmp_path / "a")
  with caplog.at_level(logging.WARNING, "synjax"):
    assert read(tmp_path / "a") is None
  (record,) = caplog.records
  assert f"{tmp_path / 'a'}: cannot be used and is made again: " in record.getMessage()
  assert record.getMessage().count("made again") == 1
  write(tmp_path / "a")
  check(read(tmp_path / "a"))


def test_an_entry_of_other_rows_is_made_again(tmp_path, caplog):
  write(tmp_path / "a")
  with caplog.at_level(logging.WARNING, "synjax"):
    assert read(tmp_path / "a", 299) is None
  assert "expected large of 299 rows, found (300, 200)" in caplog.text


def test_entries_of_an_older_version_are_no_damage_and_said_once(tmp_path, caplog):
  for name in ("a", "b"):
    write(tmp_path / name)
    (tmp_path / name / "done.json").write_text('{"dtype": "float32"}')
  with caplog.at_level(logging.INFO, "synjax"):
    assert [read(tmp_path / name) for name in ("a", "b", "a")] == [None] * 3
  (record,) = caplog.records
  assert record.levelno == logging.INFO and "older version" in record.getMessage()
  write(tmp_path / "a")
  check(read(tmp_path / "a"))


def test_large_files_are_not_read_as_a_whole(tmp_path, monkeypatch):
  write(tmp_path / "a")
  monkeypatch.setattr(disk_cache, "_SUMMED", 100_000)  # of 240,128

  def refuse(self):
    assert self.name == "small.npy"
    return read_bytes(self)

  read_bytes = pathlib.Path.read_bytes
  monkeypatch.setattr(pathlib.Path, "read_bytes", refuse)
  check(read(tmp_path / "a"))
  os.truncate(tmp_path / "a" / "large.npy", 240_127)
  assert read(tmp_path / "a") is None


def test_a_full_disk_is_an_error_and_leaves_nothing(tmp_path):
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  try:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    with pytest.raises(OSError):
      write(tmp_path / "a")
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
  assert names(tmp_path / "a") == [] and read(tmp_path / "a") is None


def test_a_folder_that_cannot_be_is_an_error(tmp_path):
  (tmp_path / "file").write_text("")
  assert read(tmp_path / "file" / "a") is None
  with pytest.raises(OSError):
    write(tmp_path / "file" / "a")


def test_processes_of_two_hosts_with_one_number_write_to_two_files(tmp_path, monkeypatch):
  seen = []
  for host in ("one", "two"):
    monkeypatch.setattr(files.socket, "gethostname", lambda host=host: host)
    with files.replacing(tmp_path / "a.npy") as temporary:
      seen.append(temporary)
      temporary.write_text("")
  assert len(set(seen)) == 2
