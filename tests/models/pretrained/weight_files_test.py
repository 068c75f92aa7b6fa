import json
import pickle

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from synjax.models import pretrained
from synjax.models.pretrained.weight_files import Tensors, read_json


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
  with pytest.raises(OSError, match="two.safetensors: expected a shard"):
    opened({"a": "one.safetensors", "b": "two.safetensors"})
  with pytest.raises(ValueError, match=r"one.safetensors: expected the tensors that .* \(b\)"):
    opened({"a": "one.safetensors", "b": "one.safetensors"})
  with pytest.raises(ValueError, match="files beside it, found '../one.safetensors'"):
    opened({"a": "../one.safetensors"})
  with pytest.raises(ValueError, match="weight_map"):
    opened({})
  index.unlink()
  with pytest.raises(OSError, match="found neither"):
    Tensors(tmp_path)


def test_json_that_is_nested_too_deeply_is_refused(tmp_path):
  file = tmp_path / "config.json"
  file.write_text("[" * 200_000 + "]" * 200_000)
  with pytest.raises(ValueError, match="config.json: expected JSON, found") as error:
    read_json(file)
  assert "\n" not in str(error.value)
