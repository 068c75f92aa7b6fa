"""What may be read of a source that somebody else made: regular files inside the folder that was given.

A folder from a stranger can hold a link to any file of this machine, whose bytes would then stand in the
shards, or a named pipe, on which a reader waits for ever.
"""

import hashlib
import json
import os
import pathlib
import stat
from collections.abc import Sequence

MAX_FILE_BYTES = 2**30  # of a picture, a recording or a list, which are read whole

_KINDS = (
  (stat.S_ISFIFO, "a named pipe"),
  (stat.S_ISSOCK, "a socket"),
  (stat.S_ISCHR, "a character device"),
  (stat.S_ISBLK, "a block device"),
)


class ConversionError(ValueError):
  """A source cannot be converted; the message has file, expected, found and what to do."""


class UnsafeSourceError(ValueError):
  """A source leads out of its folder, or holds what is no file; the message names the path."""


def resolve(source: str | os.PathLike) -> pathlib.Path:
  """Returns the path that --source means: "~" is the home folder, the user's own link is followed."""
  return pathlib.Path(os.path.realpath(pathlib.Path(source).expanduser()))


def require_regular(path: str | os.PathLike) -> None:
  """Refuses what is neither a file nor a folder; what is not there is left to the reader.

  Raises:
    UnsafeSourceError: a named pipe, socket or device, or a link to one.
  """
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError):
    return
  for is_kind, name in _KINDS:
    if is_kind(mode):
      raise UnsafeSourceError(
        f"{os.fspath(path)}: expected a regular file, found {name}. Remove it from the source."
      )


def require_inside(root: pathlib.Path, *names: str) -> None:
  """Checks files and folders of a source: regular, and inside it when all links are followed.

  A folder is checked at every depth. What is not there is left to the reader.

  Args:
    root: the source's folder.
    *names: of files and folders in it, relative to it.

  Raises:
    UnsafeSourceError: naming the first path that leads out of `root` or is no regular file.
  """
  inside = os.path.realpath(root)
  for name in names:
    path = os.path.join(root, name)
    _require_target(path, inside)
    if os.path.isdir(path):
      _require_tree(path, inside)


def _require_target(path: str, inside: str) -> None:
  real = os.path.realpath(path)
  if os.path.commonpath((real, inside)) != inside:
    raise UnsafeSourceError(
      f"{path}: expected a path inside {inside}, found a link to {real}. Links out of a source are not "
      "followed: put the file itself there, or pass the folder that it is in."
    )
  require_regular(path)


def _require_tree(folder: str, inside: str) -> None:
  """Linked folders are not descended into: what is inside the source is met at its own place."""
  pending = [folder]
  while pending:
    for entry in sorted(os.scandir(pending.pop()), key=lambda entry: entry.name):
      if entry.is_symlink():
        _require_target(entry.path, inside)
      elif entry.is_dir(follow_symlinks=False):
        pending.append(entry.path)
      elif not entry.is_file(follow_symlinks=False):
        require_regular(entry.path)


def find_file(source: str | os.PathLike, names: Sequence[str]) -> pathlib.Path:
  """Returns the source file: `source` itself, or the published file in the folder `source`.

  Raises:
    ConversionError: nothing is there, or the folder holds none of the names; the message lists them.
  """
  source = pathlib.Path(source)
  if not source.exists():
    raise ConversionError(
      f"{source}: expected {' or '.join(names)}, or a folder that holds it, found nothing. Check "
      "--source."
    )
  if not source.is_dir():
    return source
  found = [source / name for name in names if (source / name).exists()]
  if not found:
    inside = ", ".join(sorted(path.name for path in source.iterdir())[:10]) or "nothing"
    raise ConversionError(
      f"{source}: expected {' or '.join(names)} in this folder, found {inside}. Pass the "
      "file with --source."
    )
  require_inside(source, found[0].name)
  return found[0]


def read_bytes(path: str | os.PathLike) -> bytes:
  """Reads a regular file whole.

  Raises:
    UnsafeSourceError: it is none, or larger than `MAX_FILE_BYTES`.
    OSError: it cannot be read.
  """
  require_regular(path)
  with open(path, "rb") as file:
    size = os.fstat(file.fileno()).st_size
    if size > MAX_FILE_BYTES:
      raise UnsafeSourceError(
        f"{os.fspath(path)}: expected at most {MAX_FILE_BYTES:,} bytes, found {size:,}. Check "
        "that it is the file it is called."
      )
    return file.read()


def parse_json(text: str | bytes) -> object:
  """Reads JSON text.

  Raises:
    ValueError: it is none (`json.JSONDecodeError` has line and column), nests too deep or has a number
      of too many digits.
  """
  try:
    return json.loads(text)
  except RecursionError:
    raise ValueError("it nests lists and objects too deep") from None


def sha256(path: str | os.PathLike) -> str:
  """Returns the SHA-256 of a file in hexadecimal."""
  with open(path, "rb") as file:
    return hashlib.file_digest(file, "sha256").hexdigest()
