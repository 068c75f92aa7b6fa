"""Loads pickles of plain containers and NumPy arrays, and nothing else: no code of the file ever runs.

An exact allow-list stands between the stream and Python. Even its names do not reach the real objects:
the stream gets stand-ins that check their arguments. That matters most for `numpy.dtype`: with the real
one, a crafted BUILD makes an object array of raw bytes, that is, of pointers of the attacker's choice
(tried with NumPy 2.5: segmentation fault), without a single forbidden name.
"""

import math
import os
import pickle
import re
import sys
from collections.abc import Callable

import numpy as np

from data_prep.read import pickle_scan, sniff
from data_prep.read.pickle_scan import DamagedPickleError

MAX_BYTES = 8 * 1024**3
_MAX_DEPTH = 64
_ENCODINGS = ("latin1", "bytes")
_DTYPE = re.compile(r"[|<>=]?(?:[biufcSU]\d+|O\d*)")
_SCALAR_KINDS = "biufcSU"
_PLAIN = (str, bytes, bytearray, int, float, complex, type(None), np.generic)
# What the unpickler raises on streams that do not follow the format.
MALFORMED = (
  pickle.UnpicklingError, EOFError, LookupError, TypeError, AttributeError, ValueError, OverflowError,
  RecursionError,
)  # fmt: skip


class UnsafePickleError(pickle.UnpicklingError, ValueError):
  """A pickle asks for something that plain arrays do not need; the message names it."""


def load(
  path: str | os.PathLike, *, encoding: str = "latin1", max_bytes: int = MAX_BYTES
) -> object:
  """Loads a pickle of dicts, lists, tuples, sets, numbers, text, bytes and NumPy arrays.

  Reads protocols 0 to 5, of Python 2 and 3, with the module names of NumPy 1 (`numpy.core`) and NumPy 2
  (`numpy._core`). Array data of protocols 3 to 5 are not copied: peak memory is about the size of the
  file. Arrays of protocol 5 may be read-only when they were so, or lie inside an object array.

  Args:
    path: of the file.
    encoding: of Python 2 `str` objects: "latin1" gives `str`; "bytes" gives `bytes` (and saves a copy
      of Python 2 arrays), except for dictionary keys in ASCII, which become `str`.
    max_bytes: largest file to accept; 8 GiB by default.

  Returns:
    The tree. Arrays are exactly `np.ndarray` of kinds b, i, u, f, c, S, U or O.

  Raises:
    sniff.WrongFileError: the file is no pickle (says what it is), or larger than `max_bytes`.
    UnsafePickleError: the stream asks for a name, a callable, a dtype or an argument off the
      allow-list.
    DamagedPickleError: the stream is cut short or malformed, or bytes follow its end.
    FileNotFoundError: nothing is there.

  Source: docs/spec/data.md 2.2, 2.3. Stricter: structured, datetime and void dtypes are refused.
  """
  path = os.fspath(path)
  if encoding not in _ENCODINGS:
    raise ValueError(f"encoding: expected one of {_ENCODINGS}, found {encoding!r}")
  size = _require_pickle(path, max_bytes)
  with open(path, "rb") as file:
    try:
      tree = _Unpickler(file, encoding=encoding).load()
      return _finish(tree, decode_keys=encoding == "bytes", memo={}, depth=0)
    except UnsafePickleError as error:
      raise UnsafePickleError(
        f"{path}: refused: {error}. Nothing of it was executed. Data files hold only "
        "containers and NumPy arrays: take the file from its published source, or save its arrays "
        "again with pickle."
      ) from None
    except MemoryError:
      raise DamagedPickleError(
        f"{path}: not enough memory to load {size:,} bytes. Free some, or use a larger machine."
      ) from None
    except MALFORMED as error:
      raise DamagedPickleError(
        f"{path}: a pickle that does not follow the format: {error}. Compare its size with the "
        "source and download it again."
      ) from error


def _require_pickle(path: str, max_bytes: int) -> int:
  """Returns the size of a file that is one whole pickle of at most `max_bytes`."""
  kind = sniff.identify(path)
  if kind.name != "pickle":
    raise sniff.WrongFileError(
      f"{path}: expected a pickle, found {kind.description}. {kind.advice}"
    )
  if kind.size > max_bytes:
    raise sniff.WrongFileError(
      f"{path}: {kind.size:,} bytes, more than the limit of {max_bytes:,}. If it is the right "
      "file, raise max_bytes."
    )
  found = pickle_scan.scan(path)  # refuses cut-off files and size bombs before memory is taken
  if found.trailing_bytes:
    raise DamagedPickleError(
      f"{path}: expected the end of the file after the pickle's STOP, found {found.trailing_bytes:,} "
      "more bytes. It is two files in one, or damaged: take it from its source again."
    )
  return kind.size


def is_allowed(module: str, name: str) -> bool:
  """Whether a (module, name) pair, as `pickle_scan.scan` lists them, is on the allow-list."""
  return (module, name) in _ALLOWED


class _Unpickler(pickle.Unpickler):
  """Looks names up in the allow-list only; the extension registry ends here too."""

  def find_class(self, module, name):
    try:
      return _ALLOWED[module, name]
    except KeyError:
      raise UnsafePickleError(f"it asks for the global {_clip(f'{module}.{name}')}") from None

  def persistent_load(self, pid):
    raise UnsafePickleError(f"it asks for a persistent object {_clip(pid)}")


class Name:
  """Stands for an allowed name. Not a class, so NEWOBJ fails; no attributes that BUILD could set."""

  __slots__ = ("_call", "_label")
  __hash__ = None

  def __init__(self, label: str, call: Callable | None = None):
    self._label, self._call = label, call

  def __call__(self, *args):
    """Does what is allowed in the place of the name; refuses a name that is never called."""
    if self._call is None:
      raise UnsafePickleError(f"it calls {self._label}, which array data only name")
    return self._call(*args)

  def __setstate__(self, state):
    raise UnsafePickleError(f"it changes the state of {self._label}")


class _Dtype:
  """Stands for `numpy.dtype(spec)` and checks the state the stream gives it."""

  __slots__ = ("dtype",)
  __hash__ = None

  def __init__(self, spec, align=False, copy=True):
    if isinstance(spec, bytes):
      spec = spec.decode("latin1")
    match = _DTYPE.fullmatch(spec) if isinstance(spec, str) else None
    if match is None:
      raise UnsafePickleError(
        f"it asks for the dtype {_clip(spec)}; allowed are bool, integers, floats, "
        "complex, bytes, text and object"
      )
    try:
      self.dtype = np.dtype("O" if "O" in spec else spec)
    except TypeError as error:
      raise UnsafePickleError(f"it asks for the dtype {_clip(spec)}: {error}") from None

  def __setstate__(self, state):
    # (version, byte order, subarray, names, fields, item size, alignment, flags[, metadata]):
    # only the order is news.
    if not isinstance(state, tuple) or not 8 <= len(state) <= 9 or state[0] not in (3, 4):
      raise UnsafePickleError(f"it gives a dtype the state {_clip(state)}")
    order, *structure, size = state[1:6]
    if any(part is not None for part in structure):
      raise UnsafePickleError("it asks for a structured dtype")
    if size not in (-1, self.dtype.itemsize):
      raise UnsafePickleError(f"it gives {self.dtype} an item size of {_clip(size)}")
    order = order.decode("latin1") if isinstance(order, bytes) else order
    if order not in ("<", ">", "|", "="):
      raise UnsafePickleError(f"it gives a dtype the byte order {_clip(order)}")
    if order in "<>":
      self.dtype = self.dtype.newbyteorder(order)


class _Array(np.ndarray):
  """An array under construction; `_finish` returns the plain one that shares its memory."""

  def __setstate__(self, state):
    if not isinstance(state, tuple) or len(state) != 5 or not isinstance(state[2], _Dtype):
      raise UnsafePickleError("it gives an array a state without a dtype")
    _, shape, dtype, fortran, data = state
    shape = _check_shape(shape)
    if dtype.dtype.kind == "O":
      if not isinstance(data, list):
        raise UnsafePickleError("it makes an object array of raw bytes")
      if len(data) != math.prod(shape):
        raise DamagedPickleError(f"{len(data)} objects for an array of shape {shape}")
    elif not isinstance(data, bytes):
      if not isinstance(data, str):
        raise UnsafePickleError(f"it makes an array of a {type(data).__name__}")
      data = data.encode("latin1")  # Python 2 under encoding="latin1"
    super().__setstate__((1, shape, dtype.dtype, bool(fortran), data))


def _reconstruct(subtype, shape, typecode):
  if subtype is not _NDARRAY:
    raise UnsafePickleError("it builds an array subclass")
  return np.ndarray.__new__(_Array, (0,), np.int8)


def _scalar(dtype, data=None):
  if not isinstance(dtype, _Dtype) or dtype.dtype.kind not in _SCALAR_KINDS:
    raise UnsafePickleError("it builds a NumPy scalar of a kind other than number or text")
  data = data.encode("latin1") if isinstance(data, str) else data
  if not isinstance(data, bytes) or len(data) != dtype.dtype.itemsize:
    raise UnsafePickleError(f"it builds a NumPy scalar of {dtype.dtype} from {_clip(data)}")
  _check_text(dtype.dtype, data)
  if not data:  # the empty string: frombuffer needs at least one byte
    return dtype.dtype.type()
  return np.frombuffer(data, dtype.dtype)[0]


def _from_buffer(buffer, dtype, shape, order, axis_order=None):
  if not isinstance(dtype, _Dtype) or dtype.dtype.kind == "O":
    raise UnsafePickleError("it builds an array of objects from raw bytes")
  if not isinstance(buffer, bytes | bytearray | memoryview) or order not in ("C", "F", "K"):
    raise UnsafePickleError(
      f"it builds an array from a {type(buffer).__name__}, order {_clip(order)}"
    )
  shape = _check_shape(shape)
  if math.prod(shape) * dtype.dtype.itemsize != len(buffer):
    raise DamagedPickleError(f"{len(buffer):,} bytes for a {dtype.dtype} array of shape {shape}")
  if not len(buffer):  # frombuffer needs at least one byte
    array = np.empty(shape, dtype.dtype)
  else:
    array = np.frombuffer(buffer, dtype.dtype)
    array = array.reshape(shape, order="C" if order == "K" else order)
  if axis_order is not None:
    array = array.transpose(_check_shape(axis_order))
  return array.view(_Array)


def _encode(text, encoding="utf-8"):
  if not isinstance(text, str) or encoding != "latin1":
    raise UnsafePickleError(f"it calls _codecs.encode with the codec {_clip(encoding)}")
  return text.encode("latin1")


def _empty_bytes(*args):
  if args:
    raise UnsafePickleError("it calls bytes with arguments")
  return b""


def _check_text(dtype: np.dtype, data: bytes) -> None:
  """Refuses text beyond Unicode, which NumPy would store and then fail on in the middle of a run."""
  codes = (
    np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder)) if dtype.kind == "U" else ()
  )
  if len(codes) and codes.max() > sys.maxunicode:
    raise DamagedPickleError(f"text of code point {codes.max():#x}, beyond Unicode")


def _check_shape(shape) -> tuple[int, ...]:
  if not isinstance(shape, tuple) or not all(type(n) is int and 0 <= n < 2**48 for n in shape):
    raise UnsafePickleError(f"it gives an array the shape {_clip(shape)}")
  return shape


def _clip(value) -> str:
  text = ascii(value) if not isinstance(value, str) else ascii(value)[1:-1]
  return f"'{text[:80]}'"


_NDARRAY = Name("numpy.ndarray")
_ALLOWED = {("numpy", "ndarray"): _NDARRAY, ("numpy", "dtype"): Name("numpy.dtype", _Dtype)}
_ALLOWED["_codecs", "encode"] = Name("_codecs.encode", _encode)
for _core in ("numpy.core", "numpy._core"):
  _ALLOWED[f"{_core}.multiarray", "_reconstruct"] = Name("_reconstruct", _reconstruct)
  _ALLOWED[f"{_core}.multiarray", "scalar"] = Name("scalar", _scalar)
  _ALLOWED[f"{_core}.numeric", "_frombuffer"] = Name("_frombuffer", _from_buffer)
for _builtins in ("builtins", "__builtin__"):
  _ALLOWED[_builtins, "bytes"] = Name("bytes", _empty_bytes)


def _finish(value, *, decode_keys: bool, memo: dict, depth: int):
  """Replaces stand-ins by what they stand for, in place; refuses any other object.

  `memo` maps the id of each container and array to (itself, its replacement): shared parts stay shared,
  and a list that repeats another many times over costs one visit.
  """
  if isinstance(value, _PLAIN):
    return value
  if id(value) in memo:
    return memo[id(value)][1]
  if depth > _MAX_DEPTH:
    raise UnsafePickleError(f"it nests containers deeper than {_MAX_DEPTH}")

  def visit(part):
    return _finish(part, decode_keys=decode_keys, memo=memo, depth=depth + 1)

  result = value
  if isinstance(value, _Dtype):
    result = value.dtype
  elif isinstance(value, _Array):
    result = value.view(np.ndarray)
    memo[id(value)] = value, result
    if result.dtype.kind == "U":
      _check_text(result.dtype, result.tobytes())
    if result.dtype.kind == "O":
      for index in np.ndindex(result.shape):
        result[index] = visit(result[index])
  elif type(value) is dict:
    memo[id(value)] = value, value
    items = [(_key(key) if decode_keys else key, visit(part)) for key, part in value.items()]
    value.clear()
    value.update(items)
  elif type(value) is list:
    memo[id(value)] = value, value
    for i, part in enumerate(value):
      value[i] = visit(part)
  elif type(value) is tuple:
    result = tuple(visit(part) for part in value)
  elif type(value) in (set, frozenset):
    for part in value:
      visit(part)
  else:
    raise UnsafePickleError(
      f"it holds a {type(value).__name__.strip('_').lower()} where data belong"
    )
  memo[id(value)] = value, result
  return result


def _key(key):
  return key.decode("ascii") if isinstance(key, bytes) and key.isascii() else key
