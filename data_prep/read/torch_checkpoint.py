"""Reads the tensors of a PyTorch or Lightning checkpoint; no code of the file ever runs.

A checkpoint is a zip: a pickle of names and shapes, and a file of plain numbers for each storage. The
pickle is read by an unpickler that knows tensors, storages and dicts; other objects of the packages that
Lightning saves (settings, callbacks, loops) become one empty stand-in, whatever is done to them. A file
that asks for another name is refused.
"""

import io
import math
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from data_prep.read import pickle_scan
from data_prep.read.safe_pickle import MALFORMED, Name, UnsafePickleError

_MAX_PICKLE_BYTES = 64 * 1024**2  # names, shapes and settings; numbers are in files of their own
_KEY = re.compile(r"\w{1,64}")
_STORAGES = {
  "DoubleStorage": "<f8", "FloatStorage": "<f4", "HalfStorage": "<f2", "BFloat16Storage": "bfloat16",
  "LongStorage": "<i8", "IntStorage": "<i4", "ShortStorage": "<i2", "CharStorage": "<i1",
  "ByteStorage": "<u1", "BoolStorage": "|b1",
}  # fmt: skip
# Of their classes Lightning's files name some; none is needed for the weights, and none is imported.
_PACKAGES = (
  "torch", "omegaconf", "lightning", "lightning_fabric", "lightning_utilities", "pytorch_lightning",
  "numpy", "collections", "typing", "pathlib", "_codecs", "copyreg", "enum", "argparse",
)  # fmt: skip
_TYPES = (
  "dict",
  "list",
  "tuple",
  "set",
  "frozenset",
  "int",
  "float",
  "complex",
  "str",
  "bool",
  "bytes",
)
_CONVERT = (
  "  import torch, safetensors.torch as s\n"
  "  s.save_file(torch.load({path!r}, weights_only={safely})['state_dict'], {target!r})"
)


class Stored(NamedTuple):
  """A tensor of a checkpoint.

  Attributes:
    key: of its storage.
    dtype: of the numbers there.
    count: how many are there.
    offset: of its first one.
    shape: of the tensor.
    strides: in numbers.
  """

  key: str
  dtype: str
  count: int
  offset: int
  shape: tuple[int, ...]
  strides: tuple[int, ...]


class Checkpoint:
  """The tensors of a checkpoint: their shapes at once, their values when they are asked for.

  Attributes:
    shapes: name -> shape, of the model's `state_dict`.
    step: steps of the optimizer that it was trained for; None: the file does not say, or no such number.
  """

  def __init__(self, path: str | os.PathLike):
    """Reads the names.

    Args:
      path: of a file of `torch.save` (PyTorch 1.6 or later) or of Lightning.

    Raises:
      OSError: it cannot be read.
      UnsafePickleError: it asks for a name that no checkpoint needs.
      ValueError: it is none, or not whole, or holds no weights; the message names it.
    """
    self._path = os.fspath(path)
    try:
      self._zip = zipfile.ZipFile(self._path)
    except zipfile.BadZipFile as error:
      raise ValueError(
        f"{self._path}: expected a checkpoint of PyTorch 1.6 or later, a zip, found {error}; get the file"
        f" again, or if it is older, convert it:\n{self._conversion(safely=True)}"
      ) from error
    self._root, tree = self._read_tree()
    whole = isinstance(tree, dict) and isinstance(tree.get("state_dict"), dict)
    state = tree["state_dict"] if whole else tree
    if not isinstance(state, dict) or not any(isinstance(x, Stored) for x in state.values()):
      raise ValueError(
        f"{self._path}: expected the weights of a model, a state_dict, found none; give the checkpoint"
      )
    self._tensors = {str(name): x for name, x in state.items() if isinstance(x, Stored)}
    self.shapes = {name: x.shape for name, x in self._tensors.items()}
    step = tree.get("global_step") if whole else None
    self.step = step if type(step) is int and 0 <= step < 2**48 else None

  def __getitem__(self, name: str) -> np.ndarray:
    """Reads one tensor; bfloat16 as float32."""
    found = self._tensors[name]
    raw = self._member(f"data/{found.key}")
    wide = found.dtype == "bfloat16"
    dtype = np.dtype("<u2" if wide else found.dtype)
    last = found.offset + sum(
      (n - 1) * s for n, s in zip(found.shape, found.strides, strict=True) if n
    )
    if len(raw) != found.count * dtype.itemsize or last >= max(found.count, 1):
      raise ValueError(
        f"{self._path}: {name}: expected {found.count} numbers of {found.dtype} for shape"
        f" {list(found.shape)}, found {len(raw)} bytes; get the file again"
      )
    if not math.prod(found.shape):
      return np.zeros(found.shape, np.float32 if wide else dtype)
    flat = np.frombuffer(raw, dtype)
    if wide:
      flat = (flat.astype(np.uint32) << 16).view(np.float32)
    steps = tuple(flat.itemsize * stride for stride in found.strides)
    view = np.lib.stride_tricks.as_strided(
      flat[found.offset :], found.shape, steps, writeable=False
    )
    return view.copy()

  def _read_tree(self) -> tuple[str, Any]:
    roots = [
      name[: -len("data.pkl")] for name in self._zip.namelist() if name.endswith("/data.pkl")
    ]
    if len(roots) != 1:
      raise ValueError(
        f"{self._path}: expected a checkpoint, a zip with one data.pkl, found {len(roots)}; get the file"
        " again"
      )
    self._root = roots[0]
    if f"{self._root}byteorder" in self._zip.namelist() and self._member("byteorder") != b"little":
      raise ValueError(
        f"{self._path}: expected little-endian numbers, found others; convert it:\n"
        + self._conversion(safely=True)
      )
    if self._zip.getinfo(f"{self._root}data.pkl").file_size > _MAX_PICKLE_BYTES:
      raise ValueError(f"{self._path}: expected names and shapes, found a pickle that is too large")
    data = self._member("data.pkl")
    pickle_scan.scan_bytes(data, self._path)  # refuses size bombs before memory is taken
    try:
      return self._root, _Unpickler(io.BytesIO(data)).load()
    except UnsafePickleError as error:
      raise UnsafePickleError(
        f"{self._path}: refused: {error}. Nothing of it was executed. The next two lines do execute what"
        " the file says; type them only if you trust whoever made it, where that code is installed:\n"
        + self._conversion(safely=False)
      ) from None
    except MALFORMED as error:
      raise ValueError(
        f"{self._path}: expected a whole checkpoint, found a damaged one ({error}); get it again"
      ) from error

  def _conversion(self, *, safely: bool) -> str:
    target = f"{os.path.splitext(self._path)[0]}.safetensors"
    return _CONVERT.format(path=self._path, target=target, safely=safely)

  def _member(self, name: str) -> bytes:
    """Reads a file of the zip, which PyTorch never compresses."""
    try:
      info = self._zip.getinfo(self._root + name)
      if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError("it is compressed")
      return self._zip.read(info)
    # RuntimeError: a flipped bit makes an entry an encrypted one.
    except (KeyError, ValueError, zipfile.BadZipFile, EOFError, RuntimeError) as error:
      raise ValueError(
        f"{self._path}: expected {name} in the checkpoint, found none that can be read ({error}); get"
        " the file again"
      ) from error


class _Dict(dict):
  """An OrderedDict of the file; attributes that the stream gives it are dropped."""

  def __setstate__(self, state=None):
    del state


class _Inert:
  """Stands for any object of settings; takes whatever the stream does to it, and does nothing."""

  def __new__(cls, *args, **kwargs):
    del args, kwargs
    return super().__new__(cls)

  def __init__(self, *args, **kwargs):
    del args, kwargs

  def __setstate__(self, state=None):
    del state

  def __setitem__(self, name, value):
    del name, value

  def append(self, *values):
    """Takes what APPEND gives a list."""

  def extend(self, *values):
    """Takes what APPENDS gives a list."""

  def add(self, *values):
    """Takes what ADDITEMS gives a set."""


class _Unpickler(pickle.Unpickler):
  """Knows tensors, storages and dicts."""

  def find_class(self, module, name):
    root, exact = module.partition(".")[0], (module, name)
    if exact in _KNOWN:
      return _KNOWN[exact]
    if root in _PACKAGES or (root in ("builtins", "__builtin__") and name in _TYPES):
      return _Inert
    raise UnsafePickleError(f"it asks for the global {f'{module}.{name}'[:80]!a}")

  def persistent_load(self, pid):
    if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
      raise UnsafePickleError(f"it asks for a persistent object {str(type(pid))[:80]}")
    _, kind, key, _, count = pid[:5]
    dtype = _DTYPES.get(id(kind))
    if dtype is None or not isinstance(key, str) or not _KEY.fullmatch(key) or not _is_size(count):
      raise UnsafePickleError("it asks for a storage that PyTorch does not write")
    return Stored(key, dtype, count, 0, (count,), (1,))


def _rebuild_tensor(storage, offset, shape, strides, *rest):
  del rest
  fits = isinstance(storage, Stored) and _is_size(offset) and _are_sizes(shape, strides)
  if not fits or len(shape) != len(strides) or math.prod(shape) > max(storage.count, 1):
    raise UnsafePickleError("it builds a tensor that its storage does not hold")
  return storage._replace(offset=offset, shape=shape, strides=strides)


def _rebuild_parameter(tensor, *rest):
  del rest
  return tensor


def _are_sizes(*found: Any) -> bool:
  return all(isinstance(part, tuple) and all(map(_is_size, part)) for part in found)


def _is_size(value: Any) -> bool:
  return type(value) is int and 0 <= value < 2**48


_KINDS = {name: Name(f"torch.{name}") for name in _STORAGES}
_DTYPES = {id(_KINDS[name]): dtype for name, dtype in _STORAGES.items()}
_KNOWN: Mapping[tuple[str, str], Any] = {
  ("torch._utils", "_rebuild_tensor_v2"): Name("_rebuild_tensor_v2", _rebuild_tensor),
  ("torch._utils", "_rebuild_parameter"): Name("_rebuild_parameter", _rebuild_parameter),
  ("collections", "OrderedDict"): _Dict,
  **{("torch", name): kind for name, kind in _KINDS.items()},
}
