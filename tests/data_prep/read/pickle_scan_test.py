import os
import pickle
import pickletools

import numpy as np
import pytest

from data_prep.read import pickle_scan


class Bomb:
  def __reduce__(self):
    return os.system, ("true",)


def write(tmp_path, data):
  path = tmp_path / "file.pkl"
  path.write_bytes(data)
  return path


@pytest.mark.parametrize("protocol", range(6))
def test_opcodes_and_protocol_agree_with_the_standard_library(tmp_path, protocol):
  tree = {
    "a": np.arange(300.0),
    "ids": [f"v_{i}" for i in range(300)],
    "b": [1, 2.5, None, True, 10**20, "\u00e9"],
  }
  data = pickle.dumps(tree, protocol)
  found = pickle_scan.scan(write(tmp_path, data + b"\n"))
  assert found.num_opcodes == len(list(pickletools.genops(data)))
  assert found.protocol == (protocol if protocol >= 2 else 0)
  assert found.trailing_bytes == 1


@pytest.mark.parametrize("protocol", range(6))
def test_globals_are_listed_as_written(tmp_path, protocol):
  data = pickle.dumps({"x": [np.zeros(3, object), Bomb(), Bomb()]}, protocol)
  names = {".".join(pair) for pair in pickle_scan.scan(write(tmp_path, data)).globals}
  assert {
    "numpy._core.multiarray._reconstruct",
    "numpy.ndarray",
    "numpy.dtype",
    f"{os.name}.system",
  } <= names


def test_names_of_the_memo_and_extensions_are_shown(tmp_path):
  stream = b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x930000\x82\x07."
  assert pickle_scan.scan(write(tmp_path, stream)).globals == (
    ("copyreg", "extension 7"),
    ("os", "system"),
  )


@pytest.mark.parametrize("protocol", range(6))
def test_every_cut_is_found(tmp_path, protocol):
  data = pickle.dumps({"a": np.arange(5.0), "b": ["x" * 10, 2**70]}, protocol)
  for length in range(1, len(data) - 1, 7):
    with pytest.raises(pickle_scan.DamagedPickleError, match="truncated"):
      pickle_scan.scan(write(tmp_path, data[:length]))


def test_bytes_that_are_no_opcode_are_named(tmp_path):
  with pytest.raises(pickle_scan.DamagedPickleError, match=r"byte 2: 0xff is no pickle opcode"):
    pickle_scan.scan(write(tmp_path, b"\x80\x04\xff."))
  with pytest.raises(pickle_scan.DamagedPickleError, match="empty"):
    pickle_scan.scan(write(tmp_path, b""))


@pytest.mark.parametrize("stream", [b"]r\xff\xff\xff\x7f.", b"]p2147483647\n.", b"]q\xff."])
def test_memo_slots_that_reserve_memory_are_refused(tmp_path, stream):
  with pytest.raises(
    pickle_scan.DamagedPickleError, match="memo slot (2,147,483,647|255) after 2 opcodes"
  ):
    pickle_scan.scan(write(tmp_path, stream))
