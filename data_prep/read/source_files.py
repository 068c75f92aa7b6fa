"""What may be read of a source that somebody else made: regular files inside the folder that was given.

A folder from a stranger can hold a link to any file of this machine, whose bytes would then stand in the
shards, or a named pipe, on which a reader waits for ever.
"""

import hashlib
import json
import os
import pathlib
from collections.abc import Sequence

from synjax.workdir.safe_paths import UnsafeSourceError, require_inside, require_regular

__all__ = [
  *("ConversionError", "UnsafeSourceError", "find_file", "parse_json", "read_bytes"),
  *("require_inside", "require_regular", "resolve", "sha256"),
]

MAX_FILE_BYTES = 2**30  # of a picture, a recording or a list, which are read whole


class ConversionError(ValueError):
  """A source cannot be converted; the message has file, expected, found and what to do."""


def resolve(source: str | os.PathLike) -> pathlib.Path:
  """Returns the path that --source means: "~" is the home folder, the user's own link is followed."""
  return pathlib.Path(os.path.realpath(pathlib.Path(source).expanduser()))


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
