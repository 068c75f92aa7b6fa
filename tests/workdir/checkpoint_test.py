import collections
import errno
import json
import logging
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from synjax.workdir import checkpoint

CONFIG = {"seed": 1, "method": {"name": "m"}, "data": {"name": "d"}}


def tree(value):
  return {"state": {"w": np.full((3, 4), value, np.float32), "step": np.full(3, value, np.int32)}}


@pytest.fixture
def two_checkpoints(tmp_path):
  checkpointer = checkpoint.Checkpointer(tmp_path)
  for step in (1, 2, 3):
    checkpointer.save(step, tree(step))
  checkpointer.close()
  return tmp_path


def restore(path):
  checkpointer = checkpoint.Checkpointer(path)
  restored = checkpointer.restore(tree(0))
  checkpointer.close()
  return restored


def test_the_newest_two_are_kept_and_the_newest_is_restored_exactly(two_checkpoints):
  assert checkpoint.Checkpointer(two_checkpoints).steps() == [2, 3]
  restored = restore(two_checkpoints)
  np.testing.assert_array_equal(restored["state"]["w"], tree(3)["state"]["w"])
  assert restored["state"]["step"].dtype == np.int32


def data_files(folder):
  return [p for p in pathlib.Path(folder).rglob("*") if p.is_file() and "/d/" in str(p)]


def truncate(folder):
  for file in data_files(folder):
    os.truncate(file, file.stat().st_size // 2)


def flip_bits(folder):
  for file in data_files(folder):
    content = bytearray(file.read_bytes())
    for position in range(len(content) // 3, len(content)):
      content[position] ^= 0xFF
    file.write_bytes(bytes(content))


def remove_arrays(folder):
  shutil.rmtree(folder / "tree")


def empty(folder):
  for file in data_files(folder):
    os.truncate(file, 0)


@pytest.mark.parametrize("damage", [truncate, flip_bits, remove_arrays, empty])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(two_checkpoints, damage, caplog):
  damage(two_checkpoints / "checkpoints" / "3")
  with caplog.at_level(logging.WARNING, "synjax"):
    restored = restore(two_checkpoints)
  np.testing.assert_array_equal(restored["state"]["w"], tree(2)["state"]["w"])
  assert str(two_checkpoints / "checkpoints" / "3") in caplog.text
  assert (two_checkpoints / "checkpoints" / "damaged-3").exists()


def test_after_a_damaged_checkpoint_the_same_process_saves_that_step_again(two_checkpoints):
  truncate(two_checkpoints / "checkpoints" / "3")
  checkpointer = checkpoint.Checkpointer(two_checkpoints)
  assert checkpointer.restore(tree(0))["state"]["step"][0] == 2
  checkpointer.save(3, tree(30))
  checkpointer.close()
  np.testing.assert_array_equal(restore(two_checkpoints)["state"]["w"], tree(30)["state"]["w"])


def test_a_save_is_never_skipped_silently(two_checkpoints):
  checkpointer = checkpoint.Checkpointer(two_checkpoints)
  with pytest.raises(OSError, match=r"step 2 is not after those that are there, \[2, 3\]"):
    checkpointer.save(2, tree(2))
  checkpointer.close()


def listing(workdir):
  return sorted(str(path.relative_to(workdir)) for path in workdir.rglob("*"))


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.ESTALE, errno.ETIMEDOUT])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_read_error_is_no_damage(two_checkpoints, monkeypatch, number, wrapped):
  before = listing(two_checkpoints)
  opened = pathlib.Path.open

  def fail(*_, **__):  # orbax hands on some of them as ValueError
    raise ValueError("UNKNOWN: Error reading") if wrapped else OSError(number, os.strerror(number))

  def fail_file(path, *args, **kwargs):
    if "/d/" in str(path):
      raise OSError(number, os.strerror(number))
    return opened(path, *args, **kwargs)

  checkpointer = checkpoint.Checkpointer(two_checkpoints)
  with monkeypatch.context() as patched:
    patched.setattr(checkpointer._manager, "restore", fail)
    patched.setattr(pathlib.Path, "open", fail_file)
    with pytest.raises(OSError, match=rf"/3: .*{os.strerror(number)}.*nothing was changed"):
      checkpointer.restore(tree(0))
  assert listing(two_checkpoints) == before
  assert checkpointer.restore(tree(0))["state"]["step"][0] == 3
  checkpointer.close()


def test_a_link_that_leads_nowhere_is_no_damage(two_checkpoints):
  for file in data_files(
    two_checkpoints / "checkpoints" / "3"
  ):  # some are read only if others are gone
    file.unlink()
    file.symlink_to(file)
  before = listing(two_checkpoints)
  with pytest.raises(OSError, match="nothing was changed"):
    restore(two_checkpoints)
  assert listing(two_checkpoints) == before


@pytest.mark.parametrize(
  "target",
  [
    {"state": {"w": np.zeros((3, 5), np.float32), "step": np.zeros(3, np.int32)}},
    {"state": {"w": np.zeros((3, 4), np.float64), "step": np.zeros(3, np.int32)}},
    {"state": {"v": np.zeros((3, 4), np.float32), "step": np.zeros(3, np.int32)}},
  ],
  ids=["shape", "dtype", "name"],
)
def test_a_whole_checkpoint_of_other_arrays_is_refused_and_stays(two_checkpoints, target):
  before = listing(two_checkpoints)
  checkpointer = checkpoint.Checkpointer(two_checkpoints)
  with pytest.raises(ValueError, match=r"checkpoints/3: expected the arrays of this config"):
    checkpointer.restore(target)
  checkpointer.close()
  assert listing(two_checkpoints) == before


def test_reading_only_moves_nothing(two_checkpoints, caplog):
  truncate(two_checkpoints / "checkpoints" / "3")
  before = listing(two_checkpoints)
  checkpointer = checkpoint.Checkpointer(two_checkpoints, read_only=True)
  assert checkpointer.restore(tree(0))["state"]["step"][0] == 2
  checkpointer.close()
  assert listing(two_checkpoints) == before
  assert "checkpoints/3: damaged checkpoint skipped; trying" in caplog.text


def test_a_reader_follows_a_run_that_removes_what_it_was_about_to_read(
  two_checkpoints, monkeypatch
):
  run = checkpoint.Checkpointer(two_checkpoints)
  reader = checkpoint.Checkpointer(two_checkpoints, read_only=True)
  read = reader._read

  def read_late(step, target):
    if run.steps()[-1] == 3:
      for later in (4, 5):
        run.save(later, tree(later))
      run._manager.wait_until_finished()
    return read(step, target)

  monkeypatch.setattr(reader, "_read", read_late)
  assert reader.restore(tree(0))["state"]["step"][0] == 5
  run.close()
  reader.close()


def test_a_damaged_checkpoint_is_one_line_not_the_tracebacks_of_its_readers(two_checkpoints):
  truncate(two_checkpoints / "checkpoints" / "3")
  program = f"""
import pathlib
from synjax.workdir import checkpoint
from tests.workdir.checkpoint_test import tree
checkpoint.Checkpointer(pathlib.Path({str(two_checkpoints)!r})).restore(tree(0))
"""
  done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
  assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr


def test_arrays_beside_the_tree_come_back_exactly(tmp_path):
  unlogged = {"train/a": np.array([[0.1, np.nan, -np.inf]], np.float32), "b": np.arange(2)}
  checkpointer = checkpoint.Checkpointer(tmp_path)
  checkpointer.save(1, tree(1), unlogged)
  checkpointer.save(1, tree(1))  # is there: nothing to do
  checkpointer.close()
  again = checkpoint.Checkpointer(tmp_path)
  again.restore(tree(0))
  assert again.unlogged.keys() == unlogged.keys()
  for name, value in unlogged.items():
    np.testing.assert_array_equal(again.unlogged[name], value)
    assert again.unlogged[name].dtype == value.dtype
  again.close()


@pytest.mark.parametrize("damage", [truncate, empty])
def test_a_damaged_checkpoint_of_another_run_is_named(two_checkpoints, damage):
  (two_checkpoints / "config.json").write_text(json.dumps(CONFIG))
  damage(two_checkpoints / "checkpoints" / "3")
  with pytest.raises(ValueError, match=r"config.initialize_from: .*checkpoints/3 is damaged"):
    checkpoint.read_selected(str(two_checkpoints), "config.initialize_from")


def test_selected_arrays_of_another_run_are_checked_against_their_checksum(tmp_path, monkeypatch):
  (tmp_path / "config.json").write_text(json.dumps(CONFIG))
  saved = {"selection": {"params": {"w": np.ones(3)}, "model_state": {}}, "state": np.zeros(2)}
  checkpointer = checkpoint.Checkpointer(tmp_path)
  checkpointer.save(1, saved)
  checkpointer.close()
  config, chosen = checkpoint.read_selected(str(tmp_path), "field")
  np.testing.assert_array_equal(chosen["params"]["w"], np.ones(3))
  assert config == CONFIG
  checksums = tmp_path / "checkpoints" / "1" / "checksum" / "metadata"
  checksums.write_text("[1, 2]")  # as if bits of the arrays had changed
  with pytest.raises(ValueError, match="checksum"):
    checkpoint.read_selected(str(tmp_path), "field")


def test_a_half_written_checkpoint_is_not_seen(two_checkpoints):
  half = two_checkpoints / "checkpoints" / "4.orbax-checkpoint-tmp-0"
  half.mkdir()
  (half / "junk").write_text("half")
  np.testing.assert_array_equal(restore(two_checkpoints)["state"]["w"], tree(3)["state"]["w"])


def test_only_damaged_checkpoints_stop_the_run(two_checkpoints):
  for step in (2, 3):
    truncate(two_checkpoints / "checkpoints" / str(step))
  for _ in range(2):  # the second start finds them aside, and does not begin at step 0
    with pytest.raises(ValueError, match="only damaged"):
      restore(two_checkpoints)


def test_no_checkpoint_restores_nothing(tmp_path):
  assert restore(tmp_path) is None


def test_a_full_disk_is_named_before_anything_is_written(tmp_path, monkeypatch):
  checkpointer = checkpoint.Checkpointer(tmp_path)
  tree = {"a": np.zeros(1000, np.float32)}
  checkpointer.save(1, tree)
  usage = collections.namedtuple("usage", "total used free")
  monkeypatch.setattr(checkpoint.shutil, "disk_usage", lambda folder: usage(9000, 8999, 1))
  with pytest.raises(OSError, match=r"free disk for the checkpoint of step 2.*\[1\] are whole"):
    checkpointer.save(2, tree)
  checkpointer.close()
  assert checkpoint.Checkpointer(tmp_path).steps() == [1]


def test_a_write_that_fails_names_the_folder_and_what_to_do(tmp_path, monkeypatch):
  checkpointer = checkpoint.Checkpointer(tmp_path)

  def save(*args, **kwargs):
    raise RuntimeError("No space left on device")

  monkeypatch.setattr(checkpointer._manager, "save", save)
  with pytest.raises(
    OSError, match=r"checkpoints: a checkpoint could not .*No space left.*--workdir"
  ):
    checkpointer.save(1, {"a": np.zeros(2)})
  monkeypatch.undo()
  checkpointer.close()
