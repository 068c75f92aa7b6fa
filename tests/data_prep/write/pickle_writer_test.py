import pickletools

import numpy as np
import pytest

from data_prep.read import pickle_scan, safe_pickle
from data_prep.write import pickle_writer


def numpy_modules(path):
  return {module for module, _ in pickle_scan.scan(path).globals if "core" in module}


@pytest.mark.parametrize("protocol", pickle_writer.PROTOCOLS)
def test_spelling_decides_the_module_names_at_every_protocol(tmp_path, protocol):
  path, array = tmp_path / "a.pkl", np.arange(6.0).reshape(2, 3)
  part = "numeric" if protocol == 5 else "multiarray"
  for spelling, core in {"old": "numpy.core", "new": "numpy._core"}.items():
    pickle_writer.dump({"a": array}, path, protocol=protocol, numpy_spelling=spelling)
    assert numpy_modules(path) == {f"{core}.{part}"}
    np.testing.assert_array_equal(safe_pickle.load(path)["a"], array)


def test_python_2_streams_have_only_opcodes_of_python_2(tmp_path):
  path = tmp_path / "a.pkl"
  pickle_writer.dump({"train": [np.ones(40), "id", b"x" * 300]}, path, python2=True)
  opcodes = {op.name for op, _, _ in pickletools.genops(path.read_bytes())}
  assert {"SHORT_BINSTRING", "BINSTRING"} <= opcodes
  assert not {name for name in opcodes if "UNICODE" in name or "BINBYTES" in name}
  assert numpy_modules(path) == {"numpy.core.multiarray"}


def test_unknown_dialects_are_refused(tmp_path):
  for options in ({"protocol": 6}, {"numpy_spelling": "ancient"}):
    with pytest.raises(ValueError, match="dump: expected"):
      pickle_writer.dump({}, tmp_path / "a.pkl", **options)
