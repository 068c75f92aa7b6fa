"""Names of published checkpoints against `golden/weight_decay_groups.json` and `tests/torch_weights`."""

import json

import flax.traverse_util
import jax
import numpy as np
import pytest

from configs import mimic, mosi, trifeature, urfunny, vision_touch
from synjax import models
from synjax.models.pretrained import layouts, published_methods
from tests import torch_weights

GROUPS = json.loads((torch_weights.GOLDEN / "weight_decay_groups.json").read_text())
# experiment -> (config, shape of an example of each modality, in fusion order)
EXPERIMENTS = {
  "mosi": (mosi.get_config("infmasking,2"), [(6, 20), (6, 300)]),
  "humor3": (urfunny.get_config("infmasking,3"), [(6, 371), (6, 300), (6, 81)]),
  "mimic": (mimic.get_config("infmasking"), [(5,), (24, 12)]),
  "trifeatures": (trifeature.get_config("infmasking"), [(224, 224, 3), (224, 224, 3)]),
  "vt3": (vision_touch.get_config("infmasking,cp3"), [(128, 128, 3), (32, 6), (8,)]),
}


def build(experiment):
  """(model, its modalities, path -> shape of its variables, fusion layers)."""
  config, inputs = EXPERIMENTS[experiment]
  names = tuple(config.data.get("modalities") or config.model.modalities)
  model = models.create(config.model, names, dtype="float32", protocol="clean")
  batch = {
    name: jax.ShapeDtypeStruct((2, *shape), np.float32)
    for name, shape in zip(names, inputs, strict=True)
  }
  shapes = jax.eval_shape(
    lambda batch: model.init(jax.random.key(0), batch, method="initialize"), batch
  )
  flat = flax.traverse_util.flatten_dict(shapes)
  return model, names, {path: leaf.shape for path, leaf in flat.items()}, config.model.num_layers


def published_shapes(experiment):
  """Shapes of a checkpoint: parameters, and the buffers of its BatchNorms."""
  groups = GROUPS[experiment]
  shapes = {name: tuple(shape) for name, shape in groups["decayed"] + groups["not_decayed"]}
  for name in [
    n for n in shapes if n.endswith("weight") and n.removesuffix("weight") + "bias" in shapes
  ]:
    own = name.removesuffix("weight")
    if ".bn" in name or "downsample.1" in name:
      shapes |= {f"{own}running_mean": shapes[name], f"{own}running_var": shapes[name]}
      shapes[f"{own}num_batches_tracked"] = ()
  return shapes


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_published_tensor_has_one_place_and_every_array_one_source(experiment):
  model, names, expected, layers = build(experiment)
  shapes = {f"model.{name}": shape for name, shape in published_shapes(experiment).items()}
  entries, left_out = published_methods.read(model, names, layers, shapes, "some.ckpt")
  assert set(entries) == set(expected)
  assert layouts.mismatches(entries, left_out, expected, shapes) == ""
  used = [name for entry in entries.values() for name in entry.names]
  assert len(used) == len(set(used))
  assert all("classifier" in name or "num_batches" in name for name in left_out)


def test_arrays_are_laid_out_as_the_map_of_the_golden_files_says():
  """Of the experiment with every kind of layer but the recurrent one."""
  model, names, _, layers = build("vt3")
  rng = np.random.default_rng(0)
  state = {name: rng.normal(size=shape) for name, shape in published_shapes("vt3").items()}
  entries, _ = published_methods.read(model, names, layers, state, "some.ckpt")
  known = (
    torch_weights.resnet18("encoder.encoders.0", (f"encoders_{names[0]}",))
    | torch_weights.force_encoder("encoder.encoders.1", (f"encoders_{names[1]}",))
    | torch_weights.proprioception_encoder("encoder.encoders.2", (f"encoders_{names[2]}",))
    | torch_weights.patch_adapter("encoder.input_adapters.0", (f"adapters_{names[0]}",))
    | torch_weights.fusion("encoder.fusion_transformer", ("fusion",), num_layers=layers)
    | torch_weights.projection_head("head", ("head",))
  )
  expected = flax.traverse_util.flatten_dict(torch_weights.variables(state, known))
  assert set(expected) == set(entries)
  for path, entry in entries.items():
    np.testing.assert_array_equal(layouts.read(entry, state.__getitem__), expected[path], str(path))


def test_other_checkpoints_and_other_encoders_are_refused():
  model, names, _, layers = build("mosi")
  with pytest.raises(ValueError, match="some.ckpt: expected a checkpoint of InfMasking or CoMM"):
    published_methods.read(model, names, layers, ["a", "b"], "some.ckpt")
  small = trifeature.get_config("infmasking,small")
  names = tuple(small.model.modalities)
  model = models.create(small.model, names, dtype="float32", protocol="clean")
  with pytest.raises(ValueError, match="expected encoders of published models, .*PatchConvNet"):
    published_methods.read(model, names, 1, published_shapes("trifeatures"), "some.ckpt")
