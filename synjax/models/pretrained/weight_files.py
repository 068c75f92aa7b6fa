"""Tensors by name, read lazily from the safetensors files of a folder."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors

CONFIG = "config.json"  # what the tensors are of
FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json")

_CONVERT = """  from transformers import AutoModel
  AutoModel.from_pretrained({folder!r}).save_pretrained({folder!r})"""


class Tensors:
  """The tensors of a folder: their shapes at once, their values when they are asked for.

  Attributes:
    shapes: name -> shape.
  """

  def __init__(self, folder: pathlib.Path):
    """Opens `model.safetensors`, or the shards that its index lists.

    Args:
      folder: of the weights; or one safetensors file.

    Raises:
      OSError: there are no weights, or a shard of the index is not there.
      ValueError: a file is not a whole safetensors file, the index and its shards disagree, or there
        are pickled weights only.
    """
    self.shapes: dict[str, tuple[int, ...]] = {}
    self._files: dict[str, Any] = {}
    shards = {folder.name: None} if folder.is_file() else _shards(folder)
    folder = folder.parent if folder.is_file() else folder
    for file, expected in shards.items():
      opened = _open(folder / file)
      names = set(opened.keys())
      if expected is not None and names != expected:
        raise ValueError(
          f"{folder / file}: expected the tensors that {INDEX} lists, found others "
          f"({', '.join(sorted(names ^ expected)[:5])}): get both files again"
        )
      for name in names:
        self._files[name] = opened
        self.shapes[name] = tuple(opened.get_slice(name).get_shape())

  def __getitem__(self, name: str) -> np.ndarray:
    """Reads one tensor, in the type that the file has."""
    return self._files[name].get_tensor(name)


def read_json(file: pathlib.Path, kind: type = dict) -> Any:
  """Reads a JSON file.

  Args:
    file: its path.
    kind: what it holds, dict or list.

  Returns:
    The object or list.

  Raises:
    OSError: it is not there.
    ValueError: it holds something else.
  """
  if not file.is_file():
    raise FileNotFoundError(
      f"{file}: expected a file, found none; give the folder of a whole model"
    )
  try:
    found = json.loads(file.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{file}: expected JSON, found {error}; get the file again") from error
  if not isinstance(found, kind):
    raise ValueError(f"{file}: expected JSON of a {kind.__name__}, found {type(found).__name__}")
  return found


def _shards(folder: pathlib.Path) -> dict[str, set[str] | None]:
  """Returns file -> the names that an index lists for it, or None without an index."""
  if (folder / FILE).exists():
    return {FILE: None}
  if (folder / INDEX).exists():
    return _indexed(folder / INDEX)
  if any((folder / name).exists() for name in _PICKLED):
    raise ValueError(
      f"{folder}: expected {FILE}, found {_PICKLED[0]}, a pickle, which is not read because it can run "
      f"code; convert it where you trust it:\n{_CONVERT.format(folder=str(folder))}"
    )
  raise FileNotFoundError(
    f"{folder}: expected {FILE} or {INDEX}, found neither; download the weights"
  )


def _indexed(file: pathlib.Path) -> dict[str, set[str] | None]:
  weight_map = read_json(file).get("weight_map")
  if not isinstance(weight_map, Mapping) or not weight_map:
    raise ValueError(f"{file}: expected an object weight_map of tensor names, found none")
  shards: dict[str, set[str] | None] = {}
  for name, shard in weight_map.items():
    if not isinstance(shard, str) or pathlib.PurePath(shard).name != shard:
      raise ValueError(f"{file}: expected names of files beside it, found {shard!r}")
    shards[shard] = (shards.get(shard) or set()) | {name}
  return shards


def _open(file: pathlib.Path) -> Any:
  """Opens a safetensors file, whose header must fit its length."""
  if not file.is_file():
    raise FileNotFoundError(f"{file}: expected a shard, found no file; download it")
  try:
    return safetensors.safe_open(file, framework="numpy")
  except (safetensors.SafetensorError, ValueError) as error:
    raise ValueError(
      f"{file}: expected a whole safetensors file, found {error}; download it again"
    ) from error
