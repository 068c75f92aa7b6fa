"""Arrays that are computed once and kept on disk for all runs: features of frozen towers, token ids.

An entry is a folder that is named after all that decides its arrays. Each file takes its place when it is
whole, the record of all last: a killed process leaves no entry, and of two that make the same one at once
neither sees a part of what the other writes.
"""

import contextlib
import functools
import io
import logging
import pathlib
import time
import zlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from synjax.workdir import files, json_files

logger = logging.getLogger("synjax")

PLACE = "~/.cache/synjax"  # where `config.data.cache_dir` is empty
_RECORD = "done.json"
_SCHEMA = {"files?": {...: {"bytes": int, "crc32": int}}}  # of older versions: none
# Bytes. Larger files are checked by their size alone: reading all of one would hold up every start.
_SUMMED = 2**28
_GIVEN_UP = 3600  # seconds without a write: its writer was killed


def folder(config, kind: str) -> pathlib.Path:
  """Returns where entries of a kind lie: in `config.data.cache_dir`, else in `PLACE`."""
  return files.resolve(config.data.get("cache_dir") or PLACE) / kind


def read(entry: pathlib.Path, names: Iterable[str], rows: int) -> dict[str, np.ndarray] | None:
  """Returns the arrays of an entry, memory-mapped, so that only what is used is read.

  Args:
    entry: its folder.
    names: arrays that it must have; it may have others.
    rows: that each of them must have.

  Returns:
    name -> array; None: there is no such entry, or one of an older version, or, with a warning, it is
    damaged or may not be read.
  """
  try:
    if not (entry / _RECORD).exists():
      return None
    record = json_files.read(
      entry / _RECORD, "record of an entry", _SCHEMA, "nothing is to be done"
    )
    if "files" not in record:
      _say_older(entry.parent)
      return None
    found = {n: _open(entry / f"{n}.npy", **known) for n, known in record["files"].items()}
    for name in names:
      shape = found[name].shape if name in found else None
      if shape is None or shape[:1] != (rows,):
        raise ValueError(f"expected {name} of {rows} rows, found {shape or 'none'}")
    return found
  except (OSError, ValueError) as error:
    logger.warning("%s: cannot be used and is made again: %s", entry, error)
    return None


@functools.cache  # once a process
def _say_older(folder: pathlib.Path) -> None:
  logger.info(
    "%s: kept there by an older version of synjax, in another form: what this run uses is computed anew,"
    " once",
    folder,
  )


def _open(file: pathlib.Path, bytes: int, crc32: int) -> np.ndarray:
  """Opens one file; ValueError where it is not what was written."""
  size = file.stat().st_size
  if size != bytes:
    raise ValueError(f"{file.name}: expected {bytes} bytes, found {size}")
  if size <= _SUMMED and zlib.crc32(file.read_bytes()) != crc32:
    raise ValueError(f"{file.name}: expected the bytes that were written, found others")
  return np.load(file, mmap_mode="r", allow_pickle=False)


@contextlib.contextmanager
def writing(entry: pathlib.Path) -> Iterator[Callable[[str, np.ndarray, int], None]]:
  """Makes an entry, whose arrays take their places together at the end of the block.

  Yields:
    append(name, rows [some, ...], count): adds rows to an array that will have `count` of them.

  Raises:
    OSError: the folder cannot be written, or its disk is full; nothing is left of the entry.
  """
  entry.mkdir(parents=True, exist_ok=True)
  for part in entry.glob("*.tmp.npy"):
    with contextlib.suppress(OSError):
      if time.time() - part.stat().st_mtime > _GIVEN_UP:
        part.unlink()
  made: dict[str, _File] = {}
  with contextlib.ExitStack() as stack:

    def append(name: str, rows: np.ndarray, count: int) -> None:
      if name not in made:
        path = stack.enter_context(files.replacing(entry / f"{name}.npy"))
        made[name] = stack.enter_context(_File(path, (count, *rows.shape[1:]), rows.dtype))
      made[name].write(np.ascontiguousarray(rows).tobytes())

    yield append
  known = {name: {"bytes": own.bytes, "crc32": own.crc32} for name, own in made.items()}
  files.write_atomically(entry / _RECORD, files.to_json({"files": known}))


class _File(contextlib.AbstractContextManager):
  """A file of NumPy's format that is written from its start to its end.

  No memory map: where the disk is full, writing to one kills the process without a word.
  """

  def __init__(self, path: pathlib.Path, shape: tuple[int, ...], dtype: np.dtype):
    self._file, self.bytes, self.crc32 = path.open("wb"), 0, 0
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    start = io.BytesIO()
    np.lib.format.write_array_header_1_0(start, header)
    self.write(start.getvalue())

  def write(self, content: bytes) -> None:
    self._file.write(content)
    self.bytes += len(content)
    self.crc32 = zlib.crc32(content, self.crc32)

  def __exit__(self, *_) -> None:
    self._file.close()
