import builtins
import copyreg
import io
import itertools
import os
import pickle
import struct
import tracemalloc

import numpy as np
import pytest

from data_prep.read import safe_pickle, sniff
from data_prep.write import pickle_writer


class Reduced:
  """Pickles as a call of `function(*arguments)`, with a state if given."""

  def __init__(self, function, arguments=(), state=None):
    self.reduced = (function, arguments) if state is None else (function, arguments, state)

  def __reduce__(self):
    return self.reduced


def write(tmp_path, data):
  path = tmp_path / "file.pkl"
  path.write_bytes(data)
  return path


def sample_tree():
  generator = np.random.default_rng(0)
  return {
    "floats": generator.standard_normal((3, 4)),
    "single": generator.standard_normal((2, 5, 3)).astype(np.float32),
    "fortran": np.asfortranarray(generator.standard_normal((4, 3))),
    "strided": generator.standard_normal((4, 3, 2)).transpose(1, 0, 2),
    "big_endian": np.arange(5, dtype=">f8"),
    "zero_d": np.array(2.5),
    "empty": np.zeros((0, 3)),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j]),
    "bytes_ids": np.array([[b"vid_1", b"0.5"]], "S14"),
    "text_ids": np.array(["vid\u00e91", "b"], "<U15"),
    "special": np.array([np.nan, np.inf, -np.inf]),
    "scalar": np.float64(1.5),
    "scalars": [np.int32(3), np.str_("ab"), np.str_(""), np.bytes_(b"x"), np.bool_(True)],
    "dtype": np.dtype(">i4"),
    "plain": {"list": ["a[0]", 2, 2.5, None, True, 10**30], "tuple": (1, ("x", b"\x80\xff"))},
    b"key": b"",
  }  # fmt: skip


def assert_same(found, expected):
  assert type(found) is type(expected)
  if isinstance(expected, dict):
    assert list(found) == list(expected)
    for key in expected:
      assert_same(found[key], expected[key])
  elif isinstance(expected, list | tuple):
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
      assert_same(a, b)
  elif isinstance(expected, np.ndarray):
    # NumPy itself makes big-endian data native at protocols below 5.
    assert found.dtype.newbyteorder("=") == expected.dtype.newbyteorder("=")
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)
  else:
    assert found == expected


@pytest.mark.parametrize(
  ("protocol", "spelling"),
  list(itertools.product(pickle_writer.PROTOCOLS, pickle_writer.NUMPY_SPELLINGS)),
)
def test_every_protocol_and_both_numpy_spellings_read_back_equal(tmp_path, protocol, spelling):
  path, tree = tmp_path / "tree.pkl", sample_tree()
  if (
    protocol == 5
  ):  # Python's own pickler in Python takes an empty buffer and b"" for the same object
    del tree["empty"]
  pickle_writer.dump(tree, path, protocol=protocol, numpy_spelling=spelling)
  assert_same(safe_pickle.load(path), tree)


@pytest.mark.parametrize("protocol", pickle_writer.PROTOCOLS)
def test_the_standard_pickler_reads_back_equal(tmp_path, protocol):
  assert_same(
    safe_pickle.load(write(tmp_path, pickle.dumps(sample_tree(), protocol))), sample_tree()
  )


@pytest.mark.parametrize("encoding", ["latin1", "bytes"])
def test_python_2_pickles_read_back_equal(tmp_path, encoding):
  tree = {
    "train": {"text": np.random.default_rng(0).standard_normal((40, 9)), "id": np.array([[b"v_1"]])}
  }
  path = tmp_path / "py2.pkl"
  pickle_writer.dump(tree, path, python2=True)
  with pytest.raises(UnicodeDecodeError):
    pickle.loads(path.read_bytes())
  assert_same(safe_pickle.load(path, encoding=encoding), tree)


def test_object_arrays_and_shared_parts_survive(tmp_path):
  shared = np.arange(3.0)
  ragged = np.empty(3, object)
  ragged[:] = [shared, np.ones((2, 2)), None]
  loop = [shared]
  loop.append(loop)
  for protocol in pickle_writer.PROTOCOLS:
    data = pickle.dumps({"ragged": ragged, "same": shared, "loop": loop}, protocol)
    found = safe_pickle.load(write(tmp_path, data))
    assert type(found["ragged"][1]) is np.ndarray and found["ragged"][2] is None
    np.testing.assert_array_equal(found["ragged"][1], np.ones((2, 2)))
    assert found["ragged"][0] is found["same"] is found["loop"][0]
    assert found["loop"][1] is found["loop"]


@pytest.mark.parametrize("protocol", [0, 2, 4])
@pytest.mark.parametrize("place", ["top", "dict", "object_array", "tuple", "key", "array_state"])
def test_a_call_of_os_system_is_refused_wherever_it_hides_and_nothing_runs(
  tmp_path, protocol, place
):
  sentinel = tmp_path / "ran"
  bomb = Reduced(os.system, (f"touch {sentinel}",))
  objects = np.empty(2, object)
  objects[1] = bomb
  tree = {
    "top": bomb,
    "dict": {"train": {"text": np.ones(3), "more": bomb}},
    "object_array": {"train": objects},
    "tuple": ([1, (2, bomb)],),
    "key": [{(1, bomb): 2}] if place != "key" else [bomb, {3: 4}],
    "array_state": Reduced(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), (1, bomb)),
  }[place]
  path = write(tmp_path, pickle.dumps(tree, protocol))
  with pytest.raises(safe_pickle.UnsafePickleError, match=r"file\.pkl: refused: .*system"):
    safe_pickle.load(path)
  assert not sentinel.exists()
  if place == "top":  # the attack is real: the standard reader falls for it
    pickle.loads(path.read_bytes())
    assert sentinel.exists()


@pytest.mark.parametrize("function", [builtins.eval, builtins.exec])
def test_eval_and_exec_are_refused(tmp_path, function):
  sentinel = tmp_path / "ran"
  data = pickle.dumps(Reduced(function, (f"open({str(sentinel)!r}, 'w')",)))
  with pytest.raises(safe_pickle.UnsafePickleError, match=f"builtins.{function.__name__}"):
    safe_pickle.load(write(tmp_path, data))
  assert not sentinel.exists()


def text(value):
  return b"\x8c" + bytes([len(value)]) + value.encode()


def name(module, attribute):
  return text(module) + text(attribute) + b"\x93"  # STACK_GLOBAL


def dtype(spec):
  return name("numpy", "dtype") + text(spec) + b"\x89\x88\x87R"  # dtype(spec, False, True)


NONE, REDUCE1, TUPLE0 = b"N", b"\x85R", b")"
ARRAY = (
  name("numpy.core.multiarray", "_reconstruct") + name("numpy", "ndarray") + b"K\x00\x85C\x01b\x87R"
)
# dtype("O") whose flags are cleared, so that NumPy would take raw bytes for object pointers.
FLAGLESS = dtype("O8") + b"(K\x03" + text("|") + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
FIELDS = (
  dtype("V8") + b"(K\x03" + text("|") + b"N" + text("a") + b"\x85}" + text("a") + dtype("O8")
  + b"K\x00\x86sK\x08K\x01K\x00tb"
)  # fmt: skip
HOSTILE = {
  "another codec": (name("_codecs", "encode") + text("uryyb") + text("rot_13") + b"\x86R", "rot_13"),
  "default codec": (name("_codecs", "encode") + text("a") + REDUCE1, "codec"),
  "dotted name": (name("numpy", "ndarray.sum"), "ndarray.sum"),
  "dotted module": (name("numpy.core.multiarray", "_reconstruct.__globals__"), "__globals__"),
  "getattr": (b"cbuiltins\ngetattr\n" + text("a") + text("upper") + b"\x86R", "getattr"),
  "old reconstructor": (b"ccopy_reg\n_reconstructor\n", "_reconstructor"),
  "ordered dict": (b"ccollections\nOrderedDict\n)R", "OrderedDict"),
  "torch tensor": (b"ctorch._utils\n_rebuild_tensor_v2\n", "torch._utils"),
  "records": (b"cnumpy.core.records\nrecarray\n", "numpy.core.records"),
  "masked": (b"cnumpy.ma.core\n_mareconstruct\n", "numpy.ma"),
  "numpy loader": (b"cnumpy\nload\n", "numpy.load"),
  "set by name": (b"c__builtin__\nset\n", "__builtin__.set"),
  "bytearray by name": (b"cbuiltins\nbytearray\n", "builtins.bytearray"),
  "class instance": (b"(X\x02\x00\x00\x00idios\nsystem\n", "os.system"),
  "object opcode": (b"(cos\nsystem\nX\x02\x00\x00\x00ido", "os.system"),
  "persistent id": (text("x") + b"Q", "persistent"),
  "persistent id, text": (b"Px\n", "persistent"),
  "array subclass": (
    name("numpy.core.multiarray", "_reconstruct") + name("numpy", "dtype") + b"K\x00\x85C\x01b\x87R",
    "subclass",
  ),
  "calling ndarray": (name("numpy", "ndarray") + b"K\x05" + REDUCE1, "calls numpy.ndarray"),
  "bytes of a number": (name("builtins", "bytes") + b"K\x05" + REDUCE1, "bytes"),
  "object dtype without flags": (
    ARRAY + b"(K\x01K\x01\x85" + FLAGLESS + b"\x89C\x08AAAAAAAAtb",
    "raw bytes",
  ),
  "structured dtype": (FIELDS, "V8"),
  "fields by state": (
    dtype("i8") + b"(K\x03" + text("|") + b"N" + text("a") + b"\x85}K\x08K\x01K\x00tb",
    "structured",
  ),
  "datetime": (dtype("M8"), "M8"),
  "object scalar": (
    name("numpy.core.multiarray", "scalar") + dtype("O8") + b"C\x08AAAAAAAA\x86R",
    "scalar",
  ),
  "objects from a buffer": (
    name("numpy.core.numeric", "_frombuffer") + b"(C\x08AAAAAAAA" + dtype("O8") + b"K\x01\x85"
    + text("C") + b"tR",
    "objects from raw bytes",
  ),
  "state of a function": (
    name("_codecs", "encode") + b"N}" + text("__defaults__") + text("x") + b"\x85s\x86b",
    "state of _codecs.encode",
  ),
  "negative shape": (ARRAY + b"(K\x01J\xff\xff\xff\xff\x85" + dtype("f8") + b"\x89C\x00tb", "shape"),
  "a name as data": (name("numpy", "ndarray"), "where data belong"),
}  # fmt: skip


@pytest.mark.parametrize("attack", HOSTILE)
def test_hostile_streams_are_refused_by_name(tmp_path, attack):
  stream, message = HOSTILE[attack]
  with pytest.raises(safe_pickle.UnsafePickleError, match=message) as caught:
    safe_pickle.load(write(tmp_path, b"\x80\x04" + stream + b"."))
  assert isinstance(caught.value, ValueError) and isinstance(caught.value, pickle.UnpicklingError)


def test_new_objects_cannot_be_made_of_allowed_names(tmp_path):
  for stream in (
    name("numpy", "ndarray") + TUPLE0 + b"\x81",
    name("numpy", "dtype") + TUPLE0 + b"}\x92",
  ):
    with pytest.raises(ValueError, match="file.pkl"):
      safe_pickle.load(write(tmp_path, b"\x80\x04" + stream + b"."))


def test_the_extension_registry_is_no_way_round(tmp_path):
  copyreg.add_extension("os", "system", 201)
  try:
    with pytest.raises(safe_pickle.UnsafePickleError, match="os.system"):
      safe_pickle.load(write(tmp_path, b"\x80\x02\x82\xc9" + b"X\x02\x00\x00\x00id" + b"\x85R."))
  finally:
    copyreg.remove_extension("os", "system", 201)


@pytest.mark.parametrize(
  "stream",
  [
    b"\x8e" + struct.pack("<Q", 2**50) + b"x",  # BINBYTES8 that claims a petabyte
    b"]r" + struct.pack("<I", 2**31 - 1),  # memo slot two billion
    b"]" * 100_000 + b"a" * 99_999,  # nested lists
    b"N"
    + ARRAY
    + b"(K\x01J\x00\x00\x00\x40\x85"
    + dtype("O8")
    + b"\x89]tb",  # a billion objects, none given
  ],
)
def test_size_bombs_cost_no_memory(tmp_path, stream):
  path = write(tmp_path, b"\x80\x04" + stream + b".")
  tracemalloc.start()
  with pytest.raises(ValueError, match="file.pkl"):
    safe_pickle.load(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert peak < 40e6


@pytest.mark.parametrize("order", ["<", ">"])
def test_text_beyond_unicode_is_refused_at_once(tmp_path, order):
  data = pickle.dumps({"id": np.array(["ab", "cd"], order + "U2")}, 3)
  good, bad = (np.array([ord("c"), code], order + "u4").tobytes() for code in (ord("d"), 0x110000))
  assert data.count(good) == 1
  with pytest.raises(safe_pickle.DamagedPickleError, match="code point 0x110000"):
    safe_pickle.load(write(tmp_path, data.replace(good, bad)))


def test_exponential_sharing_is_walked_once(tmp_path):
  level = []
  for _ in range(50):
    level = [level, level]
  assert len(safe_pickle.load(write(tmp_path, pickle.dumps(level)))) == 2


@pytest.mark.parametrize("protocol", pickle_writer.PROTOCOLS)
def test_truncated_files_are_named_wherever_they_end(tmp_path, protocol):
  data = pickle.dumps({"text": np.arange(200.0), "id": ["a", "b"]}, protocol)
  for length in (0, 1, 2, 30, len(data) // 2, len(data) - 1):
    with pytest.raises(ValueError, match=r"file\.pkl: .*(truncated|empty|plain text)"):
      safe_pickle.load(write(tmp_path, data[:length]))


def test_other_kinds_limits_and_encodings_are_refused(tmp_path):
  with pytest.raises(sniff.WrongFileError, match="expected a pickle, found JSON text"):
    safe_pickle.load(write(tmp_path, b'{"1": {"train": []}}'))
  path = write(tmp_path, pickle.dumps([1, 2]))
  with pytest.raises(sniff.WrongFileError, match="limit of 5"):
    safe_pickle.load(path, max_bytes=5)
  with pytest.raises(ValueError, match="encoding"):
    safe_pickle.load(path, encoding="utf-8")
  with pytest.raises(FileNotFoundError):
    safe_pickle.load(tmp_path / "none.pkl")


@pytest.mark.parametrize(
  ("protocol", "options", "limit"), [(3, {}, 1.1), (4, {}, 1.1), (5, {}, 1.1), (2, {}, 2.2)]
)
def test_memory_stays_near_the_size_of_the_file(tmp_path, protocol, options, limit):
  generator = np.random.default_rng(0)
  tree = {
    s: {m: generator.standard_normal((50, 50, 100)) for m in "vat"} for s in ("train", "test")
  }
  path = tmp_path / "tree.pkl"
  pickle_writer.dump(tree, path, protocol=protocol, numpy_spelling="old", **options)
  del tree
  tracemalloc.start()
  found = safe_pickle.load(path)
  peak = tracemalloc.get_traced_memory()[1]
  tracemalloc.stop()
  assert found["train"]["v"].flags.writeable
  assert peak < limit * path.stat().st_size


def test_every_allowed_name_is_used_by_some_pickle():
  streams = io.BytesIO()
  for protocol, spelling in itertools.product(
    pickle_writer.PROTOCOLS, pickle_writer.NUMPY_SPELLINGS
  ):
    pickle_writer._Pickler(streams, protocol, spelling).dump(sample_tree())
  for module, attribute in safe_pickle._ALLOWED:
    if module != "builtins":  # Python 2 and 3 spell it __builtin__ at the protocols that need it
      assert module.encode() in streams.getvalue() and attribute.encode() in streams.getvalue()
  assert len(safe_pickle._ALLOWED) == 11


@pytest.mark.parametrize("more", [b".", b"N.", b"\x00" * 100, pickle.dumps([2])])
def test_bytes_after_the_end_of_the_stream_are_refused(tmp_path, more):
  path = tmp_path / "a.pkl"
  path.write_bytes(pickle.dumps([1]) + more)
  with pytest.raises(safe_pickle.DamagedPickleError, match=f"STOP, found {len(more)} more bytes"):
    safe_pickle.load(path)
