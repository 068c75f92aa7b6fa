import importlib.util
import json
import pathlib

import numpy as np
import pytest

torch = pytest.importorskip("torch")
torch.set_num_threads(1)  # idle threads that spin make tiny products slow on a busy machine

import jax
import jax.numpy as jnp

from launch.benchmark import torch_step
from synjax import masking
from synjax.models.adapters import PatchAdapter
from synjax.models.encoders import AlexNet, SequenceTransformer
from synjax.models.fusion import FusionTransformer
from tests import torch_weights
from tests.losses.contrastive_test import cases

GOLDEN = pathlib.Path(__file__).parents[2] / "golden"
SPEC = importlib.util.spec_from_file_location("recipe", GOLDEN / "recipe.py")
recipe = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(recipe)

# Beginning of a name in the golden files -> in the model of `torch_step`.
RENAMED = {
  "encoder.encoders.0.fc.": "encoders.table.first.",
  "encoder.encoders.0.fc2.": "encoders.table.second.",
  "encoder.input_adapters.0.": "encoders.table.adapter_",
  "encoder.encoders.1.": "encoders.series.",
  "encoder.fusion_transformer.mask_tokens": "fusion.mask_token",
  "encoder.fusion_transformer.": "fusion.",
  "head.layer1.": "head.0.",
  "head.bn1.": "head.1.",
  "head.layer2.": "head.3.",
  "head.bn2.": "head.4.",
  "head.layer3.": "head.6.",
}
INSIDE_FUSION = {
  "resblocks": "blocks", "attn": "attention", "mlp.c_fc": "expand", "mlp.c_proj": "contract"
}  # fmt: skip


@pytest.fixture
def double():
  torch.set_default_dtype(torch.float64)
  yield
  torch.set_default_dtype(torch.float32)


def renamed(name):
  start = next(start for start in RENAMED if name.startswith(start))
  name = RENAMED[start] + name[len(start) :]
  for theirs, ours in INSIDE_FUSION.items() if name.startswith("fusion") else ():
    name = name.replace(theirs, ours)
  return name


def golden_step():
  arrays = np.load(GOLDEN / "train_step_2mod.npz")
  meta = json.loads(str(arrays["__meta__"]))["inf2"]
  golden = {k.removeprefix("inf2/"): arrays[k] for k in arrays.files if k != "__meta__"}
  row = torch_step.Row(
    {"table": ("mlp", 6, 5), "series": ("gru", 6, 4)},
    width=meta["embed"], num_layers=meta["layers"], mask_ratio=meta["ratio"],
    num_views=meta["K"], temperature=meta["loss"]["temperature"],
    weights=tuple(meta["loss"]["weights"]), batch=meta["batch"], num_heads=meta["heads"],
    head_hidden=meta["mlp_hidden"], head_features=meta["out"],
    lr=meta["lr"], weight_decay=meta["weight_decay"],
  )  # fmt: skip
  step = torch_step.InfMaskingStep(row)
  weights = recipe.recipe(meta["recipe_shapes"], meta["recipe_seed"])
  step.model.load_state_dict({renamed(k): torch.tensor(v) for k, v in weights.items()})
  step.views = [
    {"table": torch.tensor(golden[f"x{v}_0"]), "series": torch.tensor(golden[f"x{v}_1"])}
    for v in (1, 2)
  ]
  return step, golden, meta


def test_loss_and_its_gradient_equal_the_published_values(golden, double):
  compared = 0
  for parameters, case in cases(golden, "infmasking_loss_2mod"):
    if parameters.get("cross") or "penalty" in parameters or parameters["epoch"] < 0:
      continue  # options without a use in any experiment
    inputs = [torch.tensor(case[name], requires_grad=True) for name in ("z1", "z2", "m1", "m2")]
    rho = parameters["mask_lambda"] * (parameters["epoch"] + 1) / parameters["max_epochs"]
    terms = torch_step.loss_terms(inputs[:2], inputs[2:], parameters["temperature"], rho)
    weights = torch.tensor(parameters.get("weights", [1.0] * len(terms)))
    total = (weights * terms).mean()
    total.backward()
    np.testing.assert_allclose(total.item(), case["loss"], rtol=1e-9)
    published = [case[f"ssl_loss_{i}"] for i in range(len(terms))]
    np.testing.assert_allclose(terms.detach(), published, rtol=1e-9)
    for name, value in zip(("gz1", "gz2", "gm1", "gm2"), inputs, strict=True):
      np.testing.assert_allclose(value.grad, case[name], rtol=1e-7, atol=1e-11)
    compared += 1
  assert compared >= 5


def test_training_steps_equal_the_published_ones(double):
  step, golden, meta = golden_step()
  rho = meta["loss"]["mask_lambda"] * (meta["epoch"] + 1) / meta["max_epochs"]
  for s in range(meta["steps"]):
    keep = [torch.tensor(golden[f"masks_step{s}/aug{v}_all"] == 1) for v in (1, 2)]
    np.testing.assert_allclose(step.step(rho, keep), golden["losses"][s], rtol=1e-9)
    if s == 0:
      for name, parameter in step.model.named_parameters():
        theirs = next(k for k in meta["recipe_shapes"] if renamed(k) == name)
        grad = golden[f"grad_step0/{theirs}"]
        np.testing.assert_allclose(parameter.grad, grad, rtol=1e-7, atol=1e-10, err_msg=name)
  parameters = dict(step.model.named_parameters())
  for name, value in torch_weights.read_prefix(golden, f"params_after{meta['steps']}/").items():
    if renamed(name) in parameters:
      actual = parameters[renamed(name)].detach()
      np.testing.assert_allclose(actual, value, rtol=1e-7, atol=1e-9, err_msg=name)


def test_encoder_and_fusion_equal_synjax(double, x64):
  sizes = {name: ("transformer", length, 6) for name, length in (("a", 4), ("b", 7))}
  row = torch_step.Row(sizes, 40, 2, 0.5, 3, 0.1, batch=5)
  model = torch_step.InfMaskingStep(row).model.eval()
  state = {k: v.detach().numpy() for k, v in model.state_dict().items()}
  rng = np.random.default_rng(0)
  views = {name: rng.normal(size=(5, length, 6)) for name, (_, length, _) in sizes.items()}
  keys = jax.random.split(jax.random.key(0), 5)
  keep = masking.sample_keep(keys, (4, 7), 0.5, 3)

  tokens = []
  for name, view in views.items():
    own = torch_weights.read_prefix(state, f"encoders.{name}.")
    theirs = {k.replace("layers.layers", "transformer.layers"): v for k, v in own.items()}
    theirs["conv.weight"] = theirs.pop("embed.weight")[:, :, None]
    variables = torch_weights.variables(theirs, torch_weights.sequence_transformer("", ()))
    tokens.append(jax.jit(SequenceTransformer(width=40).apply)(variables, jnp.asarray(view)))
  back = {ours: theirs for theirs, ours in INSIDE_FUSION.items()} | {"mask_token": "mask_tokens"}
  theirs = {}
  for name, value in torch_weights.read_prefix(state, "fusion.").items():
    for ours, other in back.items():
      name = name.replace(ours, other)  # noqa: PLW2901
    theirs[name] = value
  variables = torch_weights.variables(theirs, torch_weights.fusion("", (), num_layers=2))
  module = FusionTransformer(width=40, num_heads=8, num_layers=2)
  subsets, masked = jax.jit(module.apply)(variables, tokens, keep)

  inputs = {name: torch.tensor(view) for name, view in views.items()}
  with torch.no_grad():
    z, views_of = model.embed_view(inputs, torch.tensor(np.array(keep)))
  np.testing.assert_allclose(subsets, torch.stack(z), rtol=1e-9, atol=1e-11)
  np.testing.assert_allclose(masked, torch.stack(views_of[-1]), rtol=1e-9, atol=1e-11)
  assert [len(v) for v in views_of] == [3, 3, 3]  # of single modalities too


def test_image_encoder_equals_synjax(double, x64):
  row = torch_step.Row({"image": ("alexnet", 4, 96)}, 16, 1, 0.5, 2, 0.1, batch=3)
  step = torch_step.InfMaskingStep(row)
  encoder, (image, _) = step.model.encoders["image"], [view["image"] for view in step.views]
  assert image.shape == (3, 3, 96, 96)
  state = {k: v.detach().numpy() for k, v in encoder.state_dict().items()}
  trunk = {f"features.{k.removeprefix('trunk.')}": v for k, v in state.items() if "trunk" in k}
  x = jnp.asarray(image.numpy().transpose(0, 2, 3, 1))
  variables = torch_weights.variables(trunk, torch_weights.alexnet("", ()))
  features = jax.jit(AlexNet().apply)(variables, x)
  weight = state["adapter.weight"][:, :, 0, 0].T
  proj = {"kernel": weight, "bias": state["adapter.bias"]}
  tokens = PatchAdapter(16).apply({"params": {"proj": proj}}, features)
  with torch.no_grad():
    np.testing.assert_allclose(encoder(image), tokens, rtol=1e-9, atol=1e-6)


def test_draws_keep_the_published_number_of_tokens():
  row = torch_step.Row({"a": ("gru", 50, 3), "b": ("gru", 10, 3)}, 8, 1, 0.8, 2, 0.1)
  model = torch_step.Model(row)
  keep = model._draw_keep([torch.zeros(64, 50, 8), torch.zeros(64, 10, 8)])
  np.testing.assert_array_equal(keep[:, :50].sum(1), np.full(64, 9))  # not 10
  np.testing.assert_array_equal(keep[:, 50:].sum(1), np.full(64, 1))  # not 2
  assert len({tuple(row) for row in keep.tolist()}) > 60


def test_operations_are_counted_in_full():
  row = torch_step.Row({"a": ("gru", 3, 4)}, 16, 1, 0.5, 2, 0.1, batch=8)
  counted = torch_step.count_operations(torch_step.InfMaskingStep(row))
  passes, tokens, width = 2 * 2 * (2 + 1), 1 + 3, 16  # views, subsets, masks and none
  block = 2 * 8 * (tokens * 12 * width**2 + 2 * tokens**2 * width)
  head = 2 * 8 * (16 * 512 + 512 * 512 + 512 * 256)
  forward = passes * (block + head) + 2 * 2 * 8 * 3 * (4 + 16) * 3 * 16
  # Backward: two products for each forward one, except for what is thrown away and first inputs.
  assert 2 * forward < counted < 3 * forward + 1e6
