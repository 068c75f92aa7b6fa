import errno
import fcntl
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python import array_record_module

from data_prep.read import source_files
from data_prep.write import shards

ARRAY = np.array([[np.nan, -np.inf, 1e-42], [1 / 3, -0.0, np.inf]], np.float32)


GIB = 2**30


def make_example(i, seed=0):
  generator = np.random.default_rng([seed, i])
  return {
    "ragged": generator.standard_normal((i % 3, 4)).astype(np.float32),
    "special": ARRAY,
    "wide": generator.standard_normal((2, 2)),
    "image": generator.integers(256, size=(5, 4, 3), dtype=np.uint8),
    "label": -(2**40) - i,
    "score": np.float32(1 / 3),
    "name": f"é_{i}",
    "extra": ["a", "ü"][: i % 3],
  }


def make_plan(
  num_train=7, num_test=3, *, seed=0, at=None, metadata=None, counts=None, nbytes=10_000
):
  """A plan; `at(i)` is called before train example i is made."""

  def examples(first, count):
    for i in range(first, first + count):
      if at is not None:
        at(i)
      yield make_example(i, seed)

  return shards.Plan(
    name="tiny",
    config="small",
    features={
      "ragged": shards.array((None, 4), np.float32),
      "special": shards.array((2, 3), np.float32),
      "wide": shards.array((2, 2), np.float64),
      "image": shards.array((5, 4, 3), np.uint8, compress=True),
      "label": shards.scalar(np.int64),
      "score": shards.scalar(np.float32),
      "name": shards.text(),
      "extra": tfds.features.Sequence(shards.text()),
    },
    splits={"train": lambda: examples(0, num_train), "test": lambda: examples(100, num_test)},
    counts=counts or {"train": num_train, "test": num_test},
    metadata={"seed": seed, "warnings": []} if metadata is None else metadata,
    nbytes=nbytes,
    citation="Someone, 2026",
  )


def read(folder, split="train"):
  return list(tfds.builder_from_directory(os.fspath(folder)).as_data_source(split))


def assert_holds(folder, *, seed=0, num_train=7, num_test=3):
  for split, first, count in (("train", 0, num_train), ("test", 100, num_test)):
    found = read(folder, split)
    assert len(found) == count
    for i, example in enumerate(found, first):
      for name, value in make_example(i, seed).items():
        if isinstance(value, np.ndarray):
          assert example[name].dtype == value.dtype and example[name].shape == value.shape
          assert example[name].tobytes() == value.tobytes()  # NaN, -0.0 and denormals too
        elif name == "score":
          assert np.float32(example[name]) == value
        elif name == "name":
          assert example[name].decode() == value
        elif name == "extra":
          assert [text.decode() for text in example[name]] == value
        else:
          assert example[name] == value


def hidden(data_dir):
  return sorted(p.name for p in (data_dir / "tiny" / "small").iterdir() if p.name != ".lock")


def test_examples_come_back_exactly_and_in_source_order(tmp_path):
  folder = shards.write(make_plan(metadata={"warnings": ["a: b"], "n": {"x": 1}}), tmp_path)
  assert folder == tmp_path / "tiny" / "small" / "1.0.0" == shards.folder(tmp_path, "tiny", "small")
  assert_holds(folder)
  builder = tfds.builder_from_directory(os.fspath(folder))
  assert dict(builder.info.metadata) == {"warnings": ["a: b"], "n": {"x": 1}}
  assert json.loads((folder / "metadata.json").read_text()) == {"warnings": ["a: b"], "n": {"x": 1}}
  assert builder.info.full_name == "tiny/small/1.0.0" and builder.info.citation == "Someone, 2026"
  assert hidden(tmp_path) == ["1.0.0"]
  # By name as well, as TFDS' users do.
  assert tfds.builder("tiny/small", data_dir=tmp_path).info.splits["train"].num_examples == 7


def test_large_splits_take_several_shards_in_order(tmp_path, monkeypatch):
  monkeypatch.setattr(shards, "_MAX_SHARD_BYTES", 1000)
  folder = shards.write(make_plan(11, 4, nbytes=3900), tmp_path)
  assert_holds(folder, num_train=11, num_test=4)
  names = sorted(p.name for p in folder.glob("tiny-train*"))
  assert names == [f"tiny-train.array_record-0000{i}-of-00003" for i in range(3)]
  lengths = tfds.builder_from_directory(os.fspath(folder)).info.splits["train"].shard_lengths
  assert lengths == [4, 3, 4]


def test_metadata_may_grow_while_examples_are_made(tmp_path):
  metadata = {"warnings": []}
  plan = make_plan(
    metadata=metadata, at=lambda i: i == 2 and metadata["warnings"].append("late: x")
  )
  folder = shards.write(plan, tmp_path)
  assert json.loads((folder / "metadata.json").read_text()) == {"warnings": ["late: x"]}


def test_progress_shows_the_time_left(tmp_path, capsys):
  shards.write(make_plan(), tmp_path)
  assert "tiny/small: 100%" in (text := capsys.readouterr().err) and "10/10 [00:0" in text


def test_an_existing_data_set_needs_the_flag(tmp_path):
  shards.write(make_plan(seed=1), tmp_path)
  with pytest.raises(
    source_files.ConversionError,
    match="expected a place .* found one that is already there. Pass --over",
  ):
    shards.write(make_plan(seed=2), tmp_path)
  assert_holds(shards.folder(tmp_path, "tiny", "small"), seed=1)
  shards.write(make_plan(5, seed=2), tmp_path, overwrite=True)
  assert_holds(shards.folder(tmp_path, "tiny", "small"), seed=2, num_train=5)
  assert hidden(tmp_path) == ["1.0.0"]


def test_the_old_data_set_survives_an_overwrite_that_fails(tmp_path):
  folder = shards.write(make_plan(seed=1), tmp_path)

  def fail(i):
    if i == 4:
      assert_holds(folder, seed=1)  # there also while the new one is written
      raise RuntimeError("the source broke")

  with pytest.raises(RuntimeError, match="the source broke"):
    shards.write(make_plan(seed=2, at=fail), tmp_path, overwrite=True)
  assert_holds(folder, seed=1)
  assert hidden(tmp_path) == ["1.0.0"]


KILLED = """
import os, pathlib, signal, sys
sys.path.insert(0, {here!r})
import shards_test
from data_prep.write import shards
if {when!r} == "renaming":
  rename = pathlib.Path.rename
  def kill_second(self, target):
    if ".partial-" in self.name:
      os.kill(os.getpid(), signal.SIGKILL)
    return rename(self, target)
  pathlib.Path.rename = kill_second
at = (lambda i: i == 4 and os.kill(os.getpid(), signal.SIGKILL)) if {when!r} == "writing" else None
shards.write(shards_test.make_plan(seed=2, at=at), {out!r}, overwrite=True)
"""


def run_killed(out, when):
  here = os.path.dirname(__file__)
  code = KILLED.format(here=here, out=os.fspath(out), when=when)
  process = subprocess.run([sys.executable, "-c", code], cwd=pathlib.Path(here).parents[2])
  assert process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("old", [False, True])
def test_a_killed_run_leaves_nothing_visible_and_the_next_finishes(tmp_path, old):
  if old:
    shards.write(make_plan(seed=1), tmp_path)
  run_killed(tmp_path, "writing")
  left = hidden(tmp_path)
  assert len(left) == 1 + old and left[0].startswith(".1.0.0.partial-")
  folder = shards.folder(tmp_path, "tiny", "small")
  if old:
    assert_holds(folder, seed=1)
  else:
    assert not folder.exists()
    with pytest.raises(Exception, match="tiny"):
      tfds.builder("tiny/small", data_dir=tmp_path)
  shards.write(make_plan(seed=3), tmp_path, overwrite=old)
  assert_holds(folder, seed=3)
  assert hidden(tmp_path) == ["1.0.0"]


def test_a_run_killed_between_two_renamings_loses_nothing(tmp_path):
  folder = shards.write(make_plan(seed=1), tmp_path)
  run_killed(tmp_path, "renaming")
  assert not folder.exists()
  with pytest.raises(source_files.ConversionError, match="already there"):
    shards.write(make_plan(seed=3), tmp_path)
  assert_holds(folder, seed=1)  # brought back
  assert hidden(tmp_path) == ["1.0.0"]


def test_a_living_process_keeps_its_files(tmp_path):
  parent = tmp_path / "tiny" / "small"
  partial = parent / ".1.0.0.partial-otherhost-1"
  partial.mkdir(parents=True)
  (partial / "shard").write_text("x")
  with open(parent / ".lock", "w") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(source_files.ConversionError, match="another process is writing"):
      shards.write(make_plan(), tmp_path)
    assert (partial / "shard").exists()
  shards.write(make_plan(), tmp_path)
  assert hidden(tmp_path) == ["1.0.0"]


def test_one_writer_at_a_time(tmp_path):
  def write_again(i):
    if i == 4:
      with pytest.raises(source_files.ConversionError, match="another process is writing"):
        shards.write(make_plan(seed=2), tmp_path)

  assert_holds(shards.write(make_plan(seed=1, at=write_again), tmp_path), seed=1)


def test_without_locks_only_the_own_folder_is_touched(tmp_path, monkeypatch):
  partial = tmp_path / "tiny" / "small" / ".1.0.0.partial-otherhost-1"
  partial.mkdir(parents=True)

  def flock(*_):
    raise OSError(errno.ENOLCK, "No locks available")

  monkeypatch.setattr(fcntl, "flock", flock)
  assert_holds(shards.write(make_plan(), tmp_path))
  assert hidden(tmp_path) == [partial.name, "1.0.0"]


def test_too_little_space_is_found_before_writing(tmp_path, monkeypatch):
  monkeypatch.setattr(
    shutil, "disk_usage", lambda path: types.SimpleNamespace(total=10**9, used=0, free=50 * 10**6)
  )
  called = []
  with pytest.raises(
    source_files.ConversionError, match=r"free space, found 50,000,000.*Nothing was"
  ):
    shards.write(make_plan(nbytes=GIB, at=called.append), tmp_path)
  assert called == [] and hidden(tmp_path) == []
  shards.write(make_plan(nbytes=10**6), tmp_path)


# What array_record 0.8.6 raised on a full tmpfs, and what Python raises.
@pytest.mark.parametrize(
  "error",
  [
    RuntimeError("write() failed: No space left on device; writing /x; at byte 2097152"),
    OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
  ],
)
def test_a_disk_that_fills_up_is_explained_and_cleaned(tmp_path, monkeypatch, error):
  folder = shards.write(make_plan(seed=1), tmp_path)
  real = array_record_module.ArrayRecordWriter

  class FullDisk:
    def __init__(self, *arguments):
      self.writer, self.left = real(*arguments), 3

    def write(self, record):
      self.left -= 1
      if self.left < 0:
        raise error
      self.writer.write(record)

    def close(self):
      self.writer.close()

  with monkeypatch.context() as patch:
    patch.setattr(array_record_module, "ArrayRecordWriter", FullDisk)
    with pytest.raises(source_files.ConversionError, match="the disk filled up.*is removed again"):
      shards.write(make_plan(seed=2), tmp_path, overwrite=True)
  assert_holds(folder, seed=1)
  assert hidden(tmp_path) == ["1.0.0"]


def test_other_errors_are_not_taken_for_a_full_disk(tmp_path):
  def fail(i):
    raise PermissionError(errno.EACCES, "Permission denied")

  with pytest.raises(PermissionError):
    shards.write(make_plan(at=fail), tmp_path)
  assert hidden(tmp_path) == []


@pytest.mark.parametrize(
  ("counts", "message"),
  [
    ({"train": 8, "test": 3}, "train: expected 8 examples, found 7"),
    ({"train": 6, "test": 3}, "train: expected 6 examples, found more"),
    ({"train": 7, "test": 0}, "test: expected examples, found none"),
  ],
)
def test_counts_are_checked(tmp_path, counts, message):
  with pytest.raises(source_files.ConversionError, match=message):
    shards.write(make_plan(counts=counts), tmp_path)
  assert not shards.folder(tmp_path, "tiny", "small").exists()


def test_records_lost_on_disk_are_noticed(tmp_path, monkeypatch):
  real = array_record_module.ArrayRecordWriter

  class Forgetful:
    def __init__(self, *arguments):
      self.writer, self.count = real(*arguments), 0

    def write(self, record):
      self.count += 1
      if self.count != 2:
        self.writer.write(record)

    def close(self):
      self.writer.close()

  monkeypatch.setattr(array_record_module, "ArrayRecordWriter", Forgetful)
  with pytest.raises(
    source_files.ConversionError, match="train: expected 7 examples, found 6 on disk"
  ):
    shards.write(make_plan(), tmp_path)
  assert not shards.folder(tmp_path, "tiny", "small").exists()


@pytest.mark.parametrize("bad", [{"x": np.int64(3)}, {"x": float("nan")}, {"x": {1, 2}}])
def test_metadata_that_is_no_json_is_refused_before_writing(tmp_path, bad):
  with pytest.raises(source_files.ConversionError, match="metadata: expected JSON"):
    shards.write(make_plan(metadata=bad), tmp_path)
  assert not (tmp_path / "tiny").exists()
