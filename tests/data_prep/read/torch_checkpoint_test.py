"""Checkpoints: every tensor to the bit, and nothing of a hostile one is executed."""

import collections
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from data_prep.read.safe_pickle import UnsafePickleError
from data_prep.read.torch_checkpoint import Checkpoint
from tests import torch_files


class Touch:
  """Makes a file when it is unpickled by Python's own unpickler."""

  def __init__(self, path, function=os.mkdir):
    self.path, self.function = str(path), function

  def __reduce__(self):
    return self.function, (self.path,)


def state():
  rng = np.random.default_rng(0)
  return collections.OrderedDict(
    {
      "a.weight": rng.normal(size=(3, 2)).astype(np.float32),
      "a.bias": rng.normal(size=2),
      "bn.num_batches_tracked": np.array(7),
      "empty": np.zeros((0, 3), np.float32),
    }
  )


def test_every_tensor_is_read_to_the_bit(tmp_path):
  expected = state()
  whole = {
    "epoch": 3, "global_step": 77, "state_dict": expected,
    "optimizer_states": [{"m": expected["a.bias"]}],
    "hyper_parameters": {"at": pathlib.PurePosixPath("x"), "of": collections.defaultdict(list, a=[1])},
    "callbacks": {"seen": {1, 2}, "array": np.float64},
  }  # fmt: skip
  for tree, step in ((whole, 77), (expected, None)):
    found = Checkpoint(torch_files.write(tmp_path / "some.ckpt", tree))
    assert found.step == step
    assert found.shapes == {name: x.shape for name, x in expected.items()}
    for name, x in expected.items():
      np.testing.assert_array_equal(found[name], x)
      assert found[name].dtype == x.dtype


# Protocol 2, as text: PROTO 2, then GLOBAL and what is done to it.
BUILD = (
  b"\x80\x02}q\x00U\nstate_dictctorch._utils\n_rebuild_tensor_v2\n(N}U\x08__code__K\x01s\x86bs."
)
_STORAGE = b"(U\x07storagectorch\nFloatStorage\n%sU\x03cpuK\x04tQ"
REBUILD = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + _STORAGE + b"%stR."


@pytest.mark.parametrize(
  "tree",
  [
    lambda path: {"state_dict": state(), "hyper_parameters": Touch(path)},
    lambda path: {"state_dict": {"a": Touch(f"__import__('os').mkdir({str(path)!r})", eval)}},
    lambda path: Touch(path),
  ],
)
def test_a_hostile_checkpoint_executes_nothing_and_is_named(tmp_path, tree):
  path = torch_files.write(tmp_path / "bad.ckpt", tree(tmp_path / "made"))
  message = "bad.ckpt: refused: it asks for the global .*Nothing of it.* only if you trust whoever"
  with pytest.raises(UnsafePickleError, match=message):
    Checkpoint(path)
  assert not (tmp_path / "made").exists()


def test_names_of_known_packages_are_not_called_either(tmp_path):
  """torch.load and pathlib would do something; they are stand-ins, which take anything."""
  made = tmp_path / "made"
  for name in (b"ctorch\nload\n", b"cpathlib\nPath.mkdir\n", b"cnumpy\nsave\n"):
    call = name + b"(" + pickle.dumps(str(made), 0)[:-1] + b"tR"
    tree = b"\x80\x02}(U\x04dontN" + call + b"NU\x05wrongNu."
    path = torch_files.write_members(tmp_path / "odd.ckpt", tree, {})
    with pytest.raises(ValueError, match="a state_dict, found none"):
      Checkpoint(path)
    assert not made.exists()


@pytest.mark.parametrize(
  ("key", "rest", "message"),
  [
    (b"U\x010", b"K\x00K\x05\x85K\x01\x85", "its storage does not hold"),  # five of four numbers
    (
      b"U\x010",
      b"K\x00K\x02\x85J\xff\xff\xff\xff\x85",
      "its storage does not hold",
    ),  # a stride of -1
    (b"U\x04../0", b"K\x00K\x02\x85K\x01\x85", "a storage that PyTorch does not write"),
  ],
)
def test_tensors_that_reach_beyond_their_storage_are_refused(tmp_path, key, rest, message):
  tree = REBUILD % (key, rest)
  path = torch_files.write_members(tmp_path / "bad.ckpt", tree, {"0": bytes(16)})
  with pytest.raises(UnsafePickleError, match=message):
    Checkpoint(path)


def test_an_offset_and_a_storage_that_is_cut_are_refused_when_they_are_read(tmp_path):
  good = {"state_dict": {"a": np.arange(4, dtype=np.float32)}}
  path = torch_files.write(tmp_path / "good.ckpt", good)
  with zipfile.ZipFile(path) as archive:
    pickled = archive.read("archive/data.pkl")
  for raw in (bytes(12), bytes(20)):
    found = Checkpoint(torch_files.write_members(tmp_path / "cut.ckpt", pickled, {"0": raw}))
    with pytest.raises(ValueError, match=r"a: expected 4 numbers of <f4 for shape \[4\]"):
      found["a"]
  with pytest.raises(ValueError, match="none that can be read"):
    Checkpoint(torch_files.write_members(path, pickled, {"0": bytes(16)}, zipfile.ZIP_DEFLATED))


def test_the_code_of_a_stand_in_cannot_be_replaced(tmp_path):
  path = torch_files.write_members(tmp_path / "bad.ckpt", BUILD, {})
  with pytest.raises(ValueError):
    Checkpoint(path)


@pytest.mark.parametrize("step", [-1, 10**30])
def test_steps_that_nobody_has_trained_for_are_none(tmp_path, step):
  tree = {"global_step": step, "state_dict": {"x": np.ones(2, np.float32)}}
  assert Checkpoint(torch_files.write(tmp_path / "a.ckpt", tree)).step is None


def test_a_flipped_bit_that_makes_an_entry_an_encrypted_one_is_named(tmp_path):
  file = torch_files.write(tmp_path / "a.ckpt", {"state_dict": {"x": np.ones(2, np.float32)}})
  content = bytearray(file.read_bytes())
  for signature, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
    start = -1
    while (start := content.find(signature, start + 1)) >= 0:
      content[start + flags] |= 1
  file.write_bytes(content)
  with pytest.raises(
    ValueError, match="a.ckpt: expected .* in the checkpoint, found none .*encrypted"
  ):
    Checkpoint(file)["x"]


def test_what_is_no_checkpoint_is_told_how_to_convert_it(tmp_path):
  path = tmp_path / "old.ckpt"
  path.write_bytes(pickle.dumps({"state_dict": 1}))
  message = r"PyTorch 1.6 or later(.|\n)*torch.load\(.*weights_only=True.*old.safetensors"
  with pytest.raises(ValueError, match=message):
    Checkpoint(path)
  whole = torch_files.write(tmp_path / "whole.ckpt", state()).read_bytes()
  path.write_bytes(whole[: len(whole) // 2])
  with pytest.raises(ValueError, match="old.ckpt.*get the file again"):
    Checkpoint(path)
