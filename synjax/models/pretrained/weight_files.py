"""Tensors by name, read lazily from the safetensors files of a folder."""

import json
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import safetensors

CONFIG = "config.json"  # what the tensors are of
FILE = "model.safetensors"
INDEX = "model.safetensors.index.json"
_TYPES = ("F64", "F32", "F16", "BF16")  # of the numbers of a tower
_NAME = re.compile(r"[!-~]{1,200}")  # of a tensor: it goes into messages
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
      ValueError: there are no weights or pickled ones only, a file is not there or no whole safetensors
        file, or the index and its shards disagree.
      OSError: a file cannot be read.
    """
    self.shapes: dict[str, tuple[int, ...]] = {}
    self._files: dict[str, tuple[pathlib.Path, Any]] = {}
    shards = {folder.name: None} if folder.is_file() else _shards(folder)
    folder = folder.parent if folder.is_file() else folder
    for file, expected in shards.items():
      opened = _open(folder / file)
      names = set(opened.keys())
      check_names(names, folder / file)
      if expected is not None and names != expected:
        raise ValueError(
          f"{folder / file}: expected the tensors that {INDEX} lists, found others "
          f"({', '.join(sorted(names ^ expected)[:5])}): get both files again"
        )
      for name in names:
        self._files[name] = (folder / file, opened)
        self.shapes[name] = tuple(opened.get_slice(name).get_shape())

  def __getitem__(self, name: str) -> np.ndarray:
    """Reads one tensor, in the type that the file has."""
    _, opened = self._files[name]
    return opened.get_tensor(name)

  def weights(self, name: str) -> np.ndarray:
    """Reads one tensor of a tower, in the type that the file has.

    Raises:
      ValueError: it holds no numbers of a published type, some that float32 cannot hold, with which
        training would end at step 0, or variances that are none.
    """
    file, opened = self._files[name]
    kind = opened.get_slice(name).get_dtype()
    if kind not in _TYPES:
      raise ValueError(
        f"{file}: {name}: expected numbers of type {', '.join(_TYPES)}, found {kind}; get weights that"
        " are not quantised"
      )
    found = self[name]
    with np.errstate(over="ignore"):
      wrong = np.size(found) - np.isfinite(np.asarray(found, np.float32)).sum()
    if wrong:
      raise ValueError(
        f"{file}: {name}: expected finite numbers of float32, found {wrong} of {np.size(found)} that are"
        " not; download the file again"
      )
    check_variance(name, found, file)
    return found


def check_names(names: Iterable[str], file: pathlib.Path) -> None:
  """Raises ValueError where a file names a tensor as no model does: with spaces, or too long."""
  for name in names:
    if not _NAME.fullmatch(name):
      raise ValueError(
        f"{file}: expected names of tensors, such as layer1.weight, found {name[:40]!a}; get the file"
        " again"
      )


def check_variance(name: str, tensor: np.ndarray, file: pathlib.Path) -> None:
  """Raises ValueError where a BatchNorm's running variance is negative: its outputs would be NaN."""
  if name.endswith("running_var") and np.min(tensor, initial=0) < 0:
    raise ValueError(
      f"{file}: {name}: expected variances of at least 0, found {np.min(tensor):.3g}; get the file again"
    )


def files_of(folder: pathlib.Path) -> list[pathlib.Path]:
  """Returns the files that a tower is read from: `config.json`, the tensors and what lists them.

  Raises:
    ValueError: there are no weights, or pickled ones only, or their index is none.
  """
  shards = sorted(_shards(folder))
  index = [INDEX] if shards != [FILE] else []
  return [folder / name for name in (CONFIG, *index, *shards)]


def read_json(file: pathlib.Path, kind: type = dict) -> Any:
  """Reads a JSON file.

  Args:
    file: its path.
    kind: what it holds, dict or list.

  Returns:
    The object or list.

  Raises:
    ValueError: it is not there, or holds something else.
    OSError: it cannot be read.
  """
  if not file.is_file():
    raise ValueError(f"{file}: expected a file, found none; give the folder of a whole model")
  try:
    found = json.loads(file.read_text(encoding="utf-8"))
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{file}: expected JSON, found {error}; get the file again") from error
  if not isinstance(found, kind):
    raise ValueError(
      f"{file}: expected JSON of a {kind.__name__}, found {type(found).__name__}; get the file again"
    )
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
  raise ValueError(f"{folder}: expected {FILE} or {INDEX}, found neither; download the weights")


def _indexed(file: pathlib.Path) -> dict[str, set[str] | None]:
  weight_map = read_json(file).get("weight_map")
  if not isinstance(weight_map, Mapping) or not weight_map:
    raise ValueError(
      f"{file}: expected an object weight_map of tensor names, found none; get the file again"
    )
  shards: dict[str, set[str] | None] = {}
  for name, shard in weight_map.items():
    if not isinstance(shard, str) or not shard or pathlib.PurePath(shard).name != shard:
      raise ValueError(
        f"{file}: expected names of files beside it, found {shard!r}; get the file again"
      )
    shards[shard] = (shards.get(shard) or set()) | {name}
  return shards


def _open(file: pathlib.Path) -> Any:
  """Opens a safetensors file, whose header must fit its length."""
  if not file.is_file():
    raise ValueError(f"{file}: expected a file of tensors, found none; download it")
  try:
    return safetensors.safe_open(file, framework="numpy")
  except (safetensors.SafetensorError, ValueError) as error:
    raise ValueError(
      f"{file}: expected a whole safetensors file, found {error}; download it again"
    ) from error
