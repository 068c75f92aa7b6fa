"""Writes pickles as other versions of Python and NumPy would, for fixtures and tests.

`pickle.dump` writes the names of the installed NumPy. The files that users have were written by NumPy 1
and, some, by Python 2; readers must be tried on those names and opcodes.
"""

import os
import pickle
import struct
import types

PROTOCOLS = (0, 1, 2, 3, 4, 5)
NUMPY_SPELLINGS = ("old", "new")
_MODULES = {"old": "numpy.core", "new": "numpy._core"}


def dump(
  tree: object,
  path: str | os.PathLike,
  *,
  protocol: int = 3,
  numpy_spelling: str = "new",
  python2: bool = False,
) -> None:
  """Pickles a tree of containers and arrays in the dialect of another Python and NumPy.

  Args:
    tree: dicts, lists, tuples, numbers, text, bytes, arrays.
    path: to write; replaced if it exists.
    protocol: 0 to 5; 3 is what the published files most likely are (docs/spec/data.md 2.1).
    numpy_spelling: "old" writes `numpy.core` (NumPy 1), "new" `numpy._core` (NumPy 2).
    python2: write text and bytes as Python 2's `str`, at protocol 2 and with the old spelling, whatever
      is asked; text must be ASCII.

  Raises:
    ValueError: an unknown protocol or spelling.

  Source: docs/spec/data.md 3.9 (Python-2-like recipe). Writes the old names at protocols 4 and 5 as
  well, where replacing bytes in a finished stream would corrupt it.
  """
  if protocol not in PROTOCOLS or numpy_spelling not in NUMPY_SPELLINGS:
    raise ValueError(
      f"dump: expected a protocol of {PROTOCOLS} and a numpy_spelling of {NUMPY_SPELLINGS}, found "
      f"{protocol!r} and {numpy_spelling!r}"
    )
  with open(path, "wb") as file:
    if python2:
      _Python2Pickler(file, 2, "old").dump(tree)
    else:
      _Pickler(file, protocol, numpy_spelling).dump(tree)


class _Pickler(pickle._Pickler):  # the C pickler cannot be told how to spell a module
  def __init__(self, file, protocol: int, numpy_spelling: str):
    super().__init__(file, protocol)
    self._spelling = _MODULES[numpy_spelling]

  def save_global(self, obj, name=None):
    module = getattr(obj, "__module__", None) or ""
    package, _, rest = module.partition("._core.")
    if package != "numpy" or not rest:
      super().save_global(obj, name)
      return
    module, name = f"{self._spelling}.{rest}", name or obj.__name__
    if self.proto >= 4:
      self.save(module)
      self.save(name)
      self.write(pickle.STACK_GLOBAL)
    else:
      self.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())
    self.memoize(obj)

  # The base class finds functions written in Python, such as NumPy's `_frombuffer`, by this table.
  dispatch = pickle._Pickler.dispatch | {types.FunctionType: save_global}


class _Python2Pickler(_Pickler):
  dispatch = dict(_Pickler.dispatch)

  def _save_string(self, obj):
    data = obj.encode("ascii") if isinstance(obj, str) else obj
    if len(data) < 256:
      self.write(pickle.SHORT_BINSTRING + bytes([len(data)]) + data)
    else:
      self.write(pickle.BINSTRING + struct.pack("<i", len(data)) + data)
    self.memoize(obj)

  dispatch[str] = dispatch[bytes] = _save_string
