"""Files of arrays: what was written comes back, and a damaged file is named in one line."""

import numpy as np
import pytest

from synjax.workdir import arrays

ARRAYS = {
  "test/embeddings": np.random.default_rng(0).normal(size=(2, 5, 3)).astype(np.float32),
  "index": np.array([3, -1, 2**40]),
  "present": np.array([True, False]),
  "names": np.array(["left", "ä"]),
  "none": np.zeros((0, 4)),
}


def test_what_is_written_comes_back_with_its_types_and_shapes(tmp_path):
  path = tmp_path / "a.npz"
  arrays.write(path, ARRAYS)
  found = arrays.read(path, "do it again", needed=("index", "none"))
  assert list(found) == list(ARRAYS)
  for name, value in ARRAYS.items():
    assert (found[name].dtype, found[name].shape) == (value.dtype, value.shape)
    np.testing.assert_array_equal(found[name], value)
  assert [file.name for file in tmp_path.iterdir()] == ["a.npz"]


def test_a_write_that_fails_leaves_the_old_arrays(tmp_path, monkeypatch):
  path = tmp_path / "a.npz"
  arrays.write(path, ARRAYS)

  def fill_the_disk(file, **_):
    with open(file, "wb") as part:
      part.write(b"PK")
    raise OSError("no space left")

  monkeypatch.setattr(arrays.np, "savez", fill_the_disk)
  with pytest.raises(OSError, match="no space left"):
    arrays.write(path, {"index": np.zeros(3)})
  np.testing.assert_array_equal(arrays.read(path, "")["index"], ARRAYS["index"])
  assert list(tmp_path.iterdir()) == [path]


def damaged(whole):
  """Yields (what was done to a file, its bytes)."""
  for k in range(8):
    yield f"cut to {k}/8", whole[: len(whole) * k // 8]
  content = ARRAYS["test/embeddings"].tobytes()
  at = whole.index(content) + len(content) // 2
  yield "one bit", whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]
  yield "text", b"not an archive"
  yield "no archive's directory", whole.replace(b"PK\x01\x02", b"PK\x01\x03")


def test_a_damaged_file_is_one_line_with_its_name_and_what_to_do(tmp_path):
  path = tmp_path / "a.npz"
  arrays.write(path, ARRAYS)
  whole = path.read_bytes()
  for what, content in damaged(whole):
    path.write_bytes(content)
    with pytest.raises(ValueError) as error:
      arrays.read(path, "run it again")
    message = str(error.value)
    assert message.startswith(f"{path}: expected arrays written by numpy.savez, found"), what
    assert message.endswith("; run it again") and "\n" not in message, what


def test_arrays_that_are_missing_are_named_and_objects_are_not_unpickled(tmp_path):
  path = tmp_path / "a.npz"
  arrays.write(path, {"index": np.zeros(3)})
  with pytest.raises(ValueError, match=r"a.npz: .*found none of masked, scores; do"):
    arrays.read(path, "do", needed=("scores", "index", "masked"))
  np.savez(path, index=np.array([{}], dtype=object))
  with pytest.raises(ValueError, match=r"a.npz: .*found Object arrays cannot be loaded"):
    arrays.read(path, "do")
  with pytest.raises(FileNotFoundError, match="none.npz"):
    arrays.read(tmp_path / "none.npz", "do")
