"""Checkpoints as PyTorch writes them, without PyTorch: a zip of a pickle and of storages.

Checked against files of `torch.save` (PyTorch 2.13) by hand: the same opcodes but for the memo.
"""

import collections
import io
import pickle
import sys
import types
import unittest.mock
import zipfile

import numpy as np

_KINDS = {"float32": "FloatStorage", "float64": "DoubleStorage", "int64": "LongStorage"}


class _Storage:
  def __init__(self, array, key):
    self.array, self.key = np.ascontiguousarray(array), key


class _Pickler(pickle.Pickler):
  def __init__(self, file, modules):
    super().__init__(file, protocol=2)
    self.modules, self.storages = modules, []

  def persistent_id(self, obj):
    if not isinstance(obj, _Storage):
      return None
    kind = getattr(self.modules["torch"], _KINDS[str(obj.array.dtype)])
    return ("storage", kind, obj.key, "cpu", obj.array.size)

  def reducer_override(self, obj):
    if not isinstance(obj, np.ndarray):
      return NotImplemented
    storage = _Storage(obj, str(len(self.storages)))
    self.storages.append(storage)
    strides = tuple(s // obj.itemsize for s in np.zeros(obj.shape, obj.dtype).strides)
    arguments = (storage, 0, obj.shape, strides, False, collections.OrderedDict())
    return self.modules["torch._utils"]._rebuild_tensor_v2, arguments


def _modules():
  """Modules with the names that a pickle of PyTorch names."""
  torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
  for name in _KINDS.values():
    setattr(torch, name, type(name, (), {"__module__": "torch"}))

  def _rebuild_tensor_v2():
    raise AssertionError("only named")

  _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = (
    utils.__name__,
    "_rebuild_tensor_v2",
  )
  utils._rebuild_tensor_v2 = _rebuild_tensor_v2
  return {"torch": torch, "torch._utils": utils}


def write(path, tree):
  """Writes nested containers with NumPy arrays in the place of tensors."""
  data, modules = io.BytesIO(), _modules()
  with unittest.mock.patch.dict(sys.modules, modules):
    pickler = _Pickler(data, modules)
    pickler.dump(tree)
  write_members(path, data.getvalue(), {s.key: s.array.tobytes() for s in pickler.storages})
  return path


def write_members(path, pickled, storages, compression=zipfile.ZIP_STORED):
  """Writes a checkpoint of a pickle and storages, key -> bytes."""
  with zipfile.ZipFile(path, "w", compression) as archive:
    archive.writestr("archive/data.pkl", pickled)
    archive.writestr("archive/byteorder", "little")
    for key, raw in storages.items():
      archive.writestr(f"archive/data/{key}", raw)
  return path
