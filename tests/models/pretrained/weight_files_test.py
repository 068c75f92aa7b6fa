import json
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from synjax.models import pretrained
from synjax.models.pretrained.weight_files import Tensors, files_of, read_json


def saved(folder, **tensors):
  file = folder / "model.safetensors"
  safetensors.numpy.save_file(tensors, file)
  return file


def test_every_published_type_of_numbers_is_read(tmp_path):
  values = np.linspace(-2, 2, 6).reshape(2, 3)
  kinds = {"half": np.float16, "single": np.float32, "double": np.float64, "brain": jnp.bfloat16}
  saved(tmp_path, **{name: values.astype(kind) for name, kind in kinds.items()})
  tensors = Tensors(tmp_path)
  for name, kind in kinds.items():
    assert tensors.shapes[name] == (2, 3)
    np.testing.assert_array_equal(np.float64(tensors[name]), np.float64(values.astype(kind)))


def test_a_file_that_is_not_whole_is_named(tmp_path):
  file = saved(tmp_path, a=np.ones((50, 50)))
  whole = file.read_bytes()
  for found in (whole[:-100], whole[:40], b"", b"<html>not here</html>", whole + b"more"):
    file.write_bytes(found)
    with pytest.raises(ValueError, match="model.safetensors: expected a whole") as error:
      Tensors(tmp_path)
    assert "\n" not in str(error.value)


def test_pickles_are_refused_with_the_lines_that_convert_them(tmp_path):
  class Hostile:
    def __reduce__(self):
      return (pytest.fail, ("it was unpickled",))

  (tmp_path / "config.json").write_text('{"model_type": "distilbert"}')
  (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Hostile()))
  with pytest.raises(ValueError, match="pytorch_model.bin, a pickle, which is not read") as error:
    pretrained.load(tmp_path)
  lines = str(error.value).splitlines()[1:]
  assert len(lines) == 2
  for line in lines:
    compile(line.strip(), "convert", "exec")


def test_an_index_is_followed_to_files_beside_it_alone(tmp_path):
  index = tmp_path / "model.safetensors.index.json"
  shard = saved(tmp_path, a=np.ones(2)).rename(tmp_path / "one.safetensors")
  assert shard.exists()

  def opened(weight_map):
    index.write_text(json.dumps({"weight_map": weight_map}))
    return Tensors(tmp_path)

  assert opened({"a": "one.safetensors"}).shapes == {"a": (2,)}
  with pytest.raises(ValueError, match="two.safetensors: expected a file of tensors, found none"):
    opened({"a": "one.safetensors", "b": "two.safetensors"})
  with pytest.raises(ValueError, match=r"one.safetensors: expected the tensors that .* \(b\)"):
    opened({"a": "one.safetensors", "b": "one.safetensors"})
  for other in ("../one.safetensors", "", ".", 3, None):
    with pytest.raises(ValueError, match="files beside it, found .*; get the file again"):
      opened({"a": other})
  with pytest.raises(ValueError, match="weight_map"):
    opened({})
  index.unlink()
  with pytest.raises(ValueError, match="found neither"):
    Tensors(tmp_path)


def test_json_that_is_nested_too_deeply_is_refused(tmp_path):
  file = tmp_path / "config.json"
  file.write_text("[" * 200_000 + "]" * 200_000)
  with pytest.raises(ValueError, match="config.json: expected JSON, found") as error:
    read_json(file)
  assert "\n" not in str(error.value)


def write_raw(folder, header):
  """A file whose header is anything, with 64 bytes of zeros."""
  text = header.encode()
  content = len(text).to_bytes(8, "little") + text + bytes(64)
  (folder / "model.safetensors").write_bytes(content)


def test_tensors_that_are_there_twice_or_overlap_are_refused(tmp_path):
  one = '"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}'
  for other in (one, one.replace("[0,32]", "[32,64]"), one.replace('"a"', '"b"')):
    write_raw(tmp_path, f"{{{one},{other}}}")
    with pytest.raises(ValueError, match="model.safetensors: expected a whole"):
      Tensors(tmp_path)
  shard = saved(tmp_path, a=np.ones(2), b=np.ones(2))
  for name in ("one", "two"):
    (tmp_path / f"{name}.safetensors").write_bytes(shard.read_bytes())
  shard.unlink()
  index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
  (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
  with pytest.raises(ValueError, match=r"one.safetensors: expected the tensors that .* \(b\)"):
    Tensors(tmp_path)


@pytest.mark.parametrize(
  ("value", "message"),
  [
    (np.array([1, np.nan, np.inf, 2]), "finite numbers of float32, found 2 of 4 that are not"),
    (np.array([1, 1e300]), "finite numbers of float32, found 1 of 2"),
    (np.array([1, np.nan], jnp.bfloat16), "finite numbers of float32, found 1 of 2"),
    (np.array([1, 2]), "numbers of type F64, F32, F16, BF16, found I64; .* not quantised"),
    (np.array([1, 2], np.int8), "numbers of type .*, found I8"),
  ],
)
def test_numbers_that_no_tower_computes_with_are_named_with_their_file(tmp_path, value, message):
  saved(tmp_path, **{"layer.weight": value})
  tensors = Tensors(tmp_path)
  with pytest.raises(ValueError, match=rf"/model.safetensors: layer.weight: expected {message}"):
    tensors.weights("layer.weight")


def test_a_negative_variance_is_refused_and_a_mean_is_not(tmp_path):
  values = np.array([1.0, -1e-3])
  saved(tmp_path, **{"bn.running_mean": values, "bn.running_var": values})
  tensors = Tensors(tmp_path)
  np.testing.assert_array_equal(tensors.weights("bn.running_mean"), values)
  message = r"/model.safetensors: bn.running_var: expected variances of at least 0, found -0.001"
  with pytest.raises(ValueError, match=message):
    tensors.weights("bn.running_var")


@pytest.mark.parametrize("name", ["a\x1b[31m", "a b", "a" * 201, ""])
def test_names_that_no_model_has_do_not_go_into_messages(tmp_path, name):
  saved(tmp_path, **{name: np.ones(2)})
  with pytest.raises(ValueError, match="/model.safetensors: expected names of tensors") as caught:
    Tensors(tmp_path)
  assert len(str(caught.value)) < len(str(tmp_path)) + 160 and str(caught.value).isprintable()


def test_what_a_tower_is_read_from_is_listed(tmp_path):
  with pytest.raises(ValueError, match="found neither"):
    files_of(tmp_path)
  shard = saved(tmp_path, a=np.ones(2))
  assert files_of(tmp_path) == [tmp_path / "config.json", shard]
  shard.rename(tmp_path / "two.safetensors")
  index = tmp_path / "model.safetensors.index.json"
  index.write_text(json.dumps({"weight_map": {"a": "two.safetensors", "b": "one.safetensors"}}))
  names = ["config.json", index.name, "one.safetensors", "two.safetensors"]
  assert files_of(tmp_path) == [tmp_path / name for name in names]
