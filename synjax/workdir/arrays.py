"""The files of arrays in a workdir."""

import os
import pathlib
from collections.abc import Mapping

import numpy as np


def write(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
  """Writes an .npz file so that a reader finds the old or the new content, never a part."""
  temporary = path.with_name(f"{path.stem}.{os.getpid()}.npz")
  np.savez(temporary, **arrays)
  os.replace(temporary, path)
