"""The files of arrays in a workdir."""

import pathlib
import zipfile
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from synjax.workdir.files import replacing


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an .npz file so that a reader finds the old or the new content, never a part."""
  with replacing(path) as temporary:
    np.savez(temporary, **arrays)


def read(path: pathlib.Path, advice: str, needed: Sequence[str] = ()) -> dict[str, np.ndarray]:
  """Reads an .npz file whole.

  Args:
    path: the file.
    advice: what to do about a damaged one.
    needed: arrays that it has to hold.

  Returns:
    name -> array.

  Raises:
    ValueError: it is damaged or lacks an array; one line with the file, what was found, and the advice.
    OSError: it cannot be read.
  """
  try:
    with path.open("rb") as file, np.load(file) as arrays:
      if missing := sorted(set(needed) - set(arrays)):
        raise ValueError(f"none of {', '.join(missing)}")
      return {name: arrays[name] for name in arrays}
  except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
    found = str(error).partition("\n")[0] or type(error).__name__
    raise ValueError(
      f"{path}: expected arrays written by numpy.savez, found {found}; {advice}"
    ) from error
