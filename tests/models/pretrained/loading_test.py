import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import safetensors.numpy

from synjax.models import pretrained
from tests import torch_softmax, torch_weights, tower_folders
from tests.golden.recipe import recipe

# case -> name of its tokens in the golden file
TOKENS = {
  "clip_vision": "post_layernorm_all_tokens",
  "clip_vision_gelu": "post_layernorm_all_tokens",
  "clip_text": "last_hidden_state",
  "distilbert": "last_hidden_state",
  "deberta": "last_hidden_state",
  "timm_vit": "tokens",
}
EMBEDDINGS = {
  **dict.fromkeys(("clip_vision", "clip_vision_gelu", "timm_vit"), "image_embeds"),
  "clip_text": "text_embeds",
}


@pytest.fixture(scope="module")
def folder(golden, tmp_path_factory):
  root = tmp_path_factory.mktemp("towers")
  return lambda case: tower_folders.write_case(golden, root / case, case)


def run(tower, inputs, **fields):
  x, valid = inputs
  module = tower.module.clone(**fields)
  return jax.jit(lambda variables, x: module.apply(variables, x, valid=valid))(tower.variables, x)


def real(found, inputs):
  """Tokens that are not padding."""
  return np.asarray(found) if inputs[1] is None else np.asarray(found)[np.asarray(inputs[1])]


def in_float64(golden, folder, case):
  """Yields what the float64 tower gives for the inputs of a case, and the golden file's numbers."""
  arrays, _ = golden("towers")
  inputs = tower_folders.inputs(golden, case)
  tower = pretrained.load(folder(case), dtype="float64")
  found = run(tower, inputs)
  assert found.dtype == jnp.float64
  yield real(found, inputs), real(arrays[f"{case}/{TOKENS[case]}"], inputs)
  if case in EMBEDDINGS:
    yield run(tower, inputs, output="embedding"), arrays[f"{case}/{EMBEDDINGS[case]}"]
  if case.startswith("clip_vision"):
    yield run(tower, inputs, output="raw_tokens"), arrays[f"{case}/last_hidden_state"]


@pytest.mark.parametrize("case", TOKENS)
def test_agrees_with_the_published_tower_in_float64(golden, folder, case, monkeypatch):
  """Tokens, embeddings and raw tokens to 1e-9; CLIP with the float32 softmax that it was run with."""
  if case.startswith("clip"):
    monkeypatch.setattr(jax.nn, "softmax", torch_softmax.traced)
  with jax.enable_x64(True):
    for found, expected in in_float64(golden, folder, case):
      np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("case", ["clip_vision", "clip_text"])
def test_the_rounding_of_clips_softmax_is_all_that_differs_in_float64(golden, folder, case):
  """Softmax in float64 is 1e-8 to 1e-6 from the golden file: less is no float32, more a mistake."""
  with jax.enable_x64(True):
    for found, expected in in_float64(golden, folder, case):
      assert 1e-8 < np.abs(found - expected).max() < 1e-6


@pytest.mark.parametrize("case", sorted(set(TOKENS) - {"clip_vision_gelu"}))
def test_float32_agrees(golden, folder, case):
  arrays, _ = golden("towers")
  x, valid = tower_folders.inputs(golden, case)
  inputs = (x.astype(jnp.float32) if valid is None else x, valid)
  expected = real(arrays[f"{case}/{TOKENS[case]}"], inputs)
  tower = pretrained.load(folder(case))
  found = run(tower, inputs)
  assert found.dtype == jnp.float32 and np.isfinite(found).all()
  np.testing.assert_allclose(real(found, inputs), expected, rtol=1e-4, atol=1e-4)


def test_bfloat16_is_the_type_of_the_computation_alone(golden, folder):
  case, (arrays, _) = "deberta", golden("towers")
  inputs = tower_folders.inputs(golden, case)
  tower = pretrained.load(folder(case), dtype="bfloat16")
  found = run(tower, inputs)
  assert found.dtype == jnp.bfloat16
  assert {leaf.dtype for leaf in jax.tree.leaves(tower.variables)} == {jnp.dtype("float32")}
  expected = real(arrays[f"{case}/{TOKENS[case]}"], inputs)
  assert np.abs(real(np.float32(found), inputs) - expected).mean() < 0.03 * np.abs(expected).mean()


def test_a_clip_model_has_both_towers(golden, tmp_path):
  arrays, _ = golden("towers")
  cases = ("clip_vision", "clip_text")
  parts = {part: tower_folders.config(golden, f"clip_{part}") for part in ("vision", "text")}
  fields = {f"{part}_config": fields for part, fields in parts.items()}
  fields |= {"model_type": "clip", "projection_dim": 12, "architectures": ["CLIPModel"]}
  tensors = {
    "logit_scale": np.float32(2.5),
    "text_model.embeddings.position_ids": np.arange(14)[None],
  }
  for part in parts:
    tensors |= tower_folders.state(golden, f"clip_{part}")
  tower = pretrained.load(tower_folders.write(tmp_path, fields, tensors))
  for case, name in zip(cases, ("image_embeds", "text_embeds"), strict=True):
    x, valid = tower_folders.inputs(golden, case)
    towers = {part: getattr(tower.module, part).clone(output="embedding") for part in parts}
    module = tower.module.clone(**towers)
    found = jax.jit(module.apply)(tower.variables, x, valid)
    np.testing.assert_allclose(found, arrays[f"{case}/{name}"], rtol=1e-4, atol=1e-4)
  assert float(tower.variables["params"]["logit_scale"]) == 2.5


def test_a_task_model_in_shards_is_read_without_its_head(golden, folder, tmp_path):
  state = tower_folders.state(golden, "deberta")
  tensors = {f"deberta.{name}": np.float32(value) for name, value in state.items()}
  tensors |= {"classifier.weight": np.ones((2, 24)), "pooler.dense.weight": np.ones((24, 24))}
  tower_folders.write(tmp_path, tower_folders.config(golden, "deberta"), {})
  (tmp_path / "model.safetensors").unlink()
  names, weight_map = sorted(tensors), {}
  for i in range(2):
    file = f"model-0000{i + 1}-of-00002.safetensors"
    safetensors.numpy.save_file({name: tensors[name] for name in names[i::2]}, tmp_path / file)
    weight_map |= dict.fromkeys(names[i::2], file)
  index = tmp_path / "model.safetensors.index.json"
  index.write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))
  whole, found = pretrained.load(folder("deberta")), pretrained.load(tmp_path)
  assert jax.tree.all(jax.tree.map(jnp.array_equal, whole.variables, found.variables))


def test_a_sentence_transformers_folder_is_read(golden, tmp_path):
  tower_folders.write_case(golden, tmp_path / "0_Transformer", "distilbert")
  kinds = {"0_Transformer": "Transformer", "1_Pooling": "Pooling", "2_Dense": "Dense"}
  modules = [
    {"idx": i, "path": path, "type": f"sentence_transformers.models.{kind}"}
    for i, (path, kind) in enumerate(kinds.items())
  ]
  (tmp_path / "modules.json").write_text(json.dumps(modules))
  assert type(pretrained.load(tmp_path).module).__name__ == "DistilBert"
  modules[0]["path"] = "../elsewhere"
  (tmp_path / "modules.json").write_text(json.dumps(modules))
  with pytest.raises(ValueError, match="inside the folder"):
    pretrained.load(tmp_path)


def test_wrong_tensors_are_listed(golden, tmp_path):
  fields, tensors = (
    tower_folders.config(golden, "distilbert"),
    tower_folders.state(golden, "distilbert"),
  )
  del tensors["transformer.layer.1.ffn.lin1.bias"]
  tensors["stray.weight"] = np.ones(3)
  tensors["embeddings.word_embeddings.weight"] = np.ones((49, 24))
  tensors["transformer.layer.0.attention.k_lin.weight"] = np.ones((24, 23))
  with pytest.raises(ValueError) as error:
    pretrained.load(tower_folders.write(tmp_path, fields, tensors))
  message = str(error.value)
  assert "missing transformer.layer.1.ffn.lin1.bias" in message
  assert "unexpected stray.weight" in message
  assert "embeddings.word_embeddings.weight expected [50, 24], found [49, 24]" in message
  assert "transformer.layer.0.attention.k_lin.weight expected [24, 24], found [24, 23]" in message
  assert message.count("; ") == 4 and "\n" not in message


def test_a_folder_of_another_architecture_is_refused(golden, tmp_path):
  tensors = tower_folders.state(golden, "distilbert")
  other = tower_folders.write(tmp_path, {"model_type": "bert"}, tensors)
  with pytest.raises(ValueError, match=r"config.json: expected a model_type of .*found 'bert'"):
    pretrained.load(other)
  mixed = tower_folders.write(tmp_path, tower_folders.config(golden, "deberta"), tensors)
  with pytest.raises(ValueError, match="missing encoder.rel_embeddings.weight.* more; get config"):
    pretrained.load(mixed)
  with pytest.raises(ValueError, match="dtype: expected one of"):
    pretrained.load(mixed, dtype="float16")
  with pytest.raises(ValueError, match=r"expected a folder of weights, found none; "):
    pretrained.load(tmp_path / "none")
  with pytest.raises(ValueError, match=r"/config.json: expected a folder .* found a file; give /"):
    pretrained.load(mixed / "config.json")
  with pytest.raises(ValueError, match=r"aaa: expected a folder of weights, found none"):
    pretrained.load(tmp_path / ("a" * 300))
  with pytest.raises(ValueError, match=r"^none: .*found none in /.*, where the command runs"):
    pretrained.load("none")


def test_weights_that_are_not_finite_are_named(golden, tmp_path):
  tensors = tower_folders.state(golden, "distilbert")
  tensors["embeddings.LayerNorm.bias"] = np.full(24, np.nan)
  folder = tower_folders.write(tmp_path, tower_folders.config(golden, "distilbert"), tensors)
  message = (
    "/model.safetensors: embeddings.LayerNorm.bias: expected finite .* found 24 of 24 that are"
  )
  with pytest.raises(ValueError, match=message):
    pretrained.load(folder)


def test_a_resnet_is_read_with_its_statistics_and_without_its_classes(golden, tmp_path):
  _, meta = golden("encoders_big")
  meta = meta["resnet18_timm_128_eval"]
  state = recipe(meta["recipe_shapes"], meta["recipe_seed"])
  heads = {"fc.weight": np.ones((10, 512)), "fc.bias": np.ones(10)}
  steps = {"bn1.num_batches_tracked": np.array(7)}
  fields = {"architecture": "resnet18", "num_classes": 10, "num_features": 512}
  tower = pretrained.load(tower_folders.write(tmp_path, fields, state | heads | steps))
  expected = torch_weights.variables(state, torch_weights.resnet18("", ()))
  jax.tree.map(
    lambda a, b: np.testing.assert_array_equal(a, np.float32(b)), tower.variables, expected
  )
  x = jnp.zeros((2, 64, 64, 3))
  shape = jax.eval_shape(tower.module.apply, tower.variables, x).shape
  assert shape == (2, 4, 512)
