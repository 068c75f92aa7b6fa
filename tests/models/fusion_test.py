"""Fusion transformer against golden arrays, an independent NumPy forward, and itself done densely."""

import flax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.masking import num_kept
from synjax.models.fusion import FusionTransformer

IMPLEMENTATIONS = ("exact", "dense")


def from_torch(arrays, prefix):
  """The parameter tree for torch's `prefix/<name>` arrays; gradients convert alike."""
  take = lambda name: np.asarray(arrays[f"{prefix}/{name}"])  # noqa: E731
  linear = lambda weight, bias: {"kernel": take(weight).T, "bias": take(bias)}  # noqa: E731
  norm = lambda name: {"scale": take(f"{name}.weight"), "bias": take(f"{name}.bias")}  # noqa: E731
  params = {"norm": norm("norm")}
  names = [name[len(prefix) + 1 :] for name in arrays.files if name.startswith(f"{prefix}/")]
  for ours, theirs in (("cls_token", "cls_token"), ("mask_token", "mask_tokens")):
    if theirs in names:
      params[ours] = take(theirs)
  depth = len([name for name in names if name.endswith("in_proj_weight")])
  for i in range(depth):
    block = f"resblocks.{i}."
    params[f"block_{i}"] = {
      "ln1": norm(block + "ln_1"),
      "ln2": norm(block + "ln_2"),
      "attention": {
        "query_key_value": linear(block + "attn.in_proj_weight", block + "attn.in_proj_bias"),
        "out": linear(block + "attn.out_proj.weight", block + "attn.out_proj.bias"),
      },
      "mlp": {
        "expand": linear(block + "mlp.c_fc.weight", block + "mlp.c_fc.bias"),
        "contract": linear(block + "mlp.c_proj.weight", block + "mlp.c_proj.bias"),
      },
    }
  return params


def random_params(module, lengths, seed=0):
  """Parameters that are all away from their trivial initial values, in float64."""
  tokens = [jax.ShapeDtypeStruct((1, n, module.width), jnp.float32) for n in lengths]
  shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)["params"]
  rng = np.random.default_rng(seed)

  def fill(path, leaf):
    values = rng.standard_normal(leaf.shape)
    if path[-1].key == "kernel":
      return values * 1.3 / np.sqrt(leaf.shape[0])
    return 1 + 0.2 * values if path[-1].key == "scale" else 0.5 * values

  return jax.tree_util.tree_map_with_path(fill, shapes)


def assert_trees_close(got, expected, rtol, atol):
  assert jax.tree.structure(got) == jax.tree.structure(expected)
  for (path, value), other in zip(
    jax.tree_util.tree_leaves_with_path(expected), jax.tree.leaves(got), strict=True
  ):
    name = jax.tree_util.keystr(path)
    np.testing.assert_allclose(other, value, rtol=rtol, atol=atol, err_msg=name)


def grads_and_outputs(module, bound=None):
  """Compiled gradients of sum(outputs * cotangents) by parameters, tokens and key biases."""

  def scalar(params, tokens, key_bias, keep, valid, cotangents):
    outputs = module.apply({"params": params}, tokens, keep, bound, valid, key_bias)
    return sum((x * y).sum() for x, y in zip(outputs, cotangents, strict=True)), outputs

  return jax.jit(
    jax.grad(scalar, argnums=(0, 1, 2), has_aux=True),
    compiler_options={"xla_backend_optimization_level": 0},  # compiling is what takes the time
  )


# An independent forward: one example, real tokens only, one head at a time. Analytic, so that complex
# steps give its derivatives to the last digits.


def numpy_embed(params, tokens, key_bias, heads, pool):
  x, key_bias = np.asarray(tokens), np.asarray(key_bias)
  if pool == "cls":
    x = np.concatenate([np.asarray(params["cls_token"])[0], x])
    key_bias = np.concatenate([[0.0], key_bias])

  def normalise(p, x):
    x = x - x.mean(1, keepdims=True)
    return x / np.sqrt((x**2).mean(1, keepdims=True) + 1e-5) * p["scale"] + p["bias"]

  def linear(p, x):
    return x @ p["kernel"] + p["bias"]

  width = x.shape[1]
  size = width // heads
  for i in range(len([name for name in params if name.startswith("block")])):
    block = params[f"block_{i}"]
    packed = linear(block["attention"]["query_key_value"], normalise(block["ln1"], x))
    mixed = []
    for head in range(heads):
      start = head * size
      q, k, v = (packed[:, part * width + start :][:, :size] for part in range(3))
      weights = np.exp(q @ k.T / np.sqrt(size) + key_bias)
      mixed.append(weights / weights.sum(1, keepdims=True) @ v)
    x = x + linear(block["attention"]["out"], np.concatenate(mixed, 1))
    u = linear(block["mlp"]["expand"], normalise(block["ln2"], x))
    x = x + linear(block["mlp"]["contract"], u / (1 + np.exp(-1.702 * u)))
  x = normalise(params["norm"], x)
  return x[0] if pool == "cls" else x.mean(0)


def numpy_forward(params, tokens, keep, valid, key_bias, module):
  lengths = [part.shape[1] for part in tokens]
  ends = np.cumsum([0, *lengths])
  spans = [*zip(ends[:-1], ends[1:], strict=True), (0, ends[-1])]
  x = np.concatenate(tokens, 1)
  batch = range(x.shape[0])

  def embed(b, values, start, stop):
    real = np.flatnonzero(valid[b, start:stop]) + start
    return numpy_embed(params, values[real], key_bias[b, real], module.num_heads, module.pool)

  subsets = [[embed(b, x[b], start, stop) for b in batch] for start, stop in spans]
  masked = [
    [embed(b, np.where(row[b][:, None], x[b], params["mask_token"][0]), *spans[-1]) for b in batch]
    for row in keep
  ]
  return np.array(subsets), np.array(masked)


def assert_gradients_match_numpy(grads, inputs, keep, valid, cotangents, module, rtol):
  """Compares derivatives along one random direction per array of (params, tokens, key_bias)."""
  leaves, structure = jax.tree.flatten(inputs)
  paths = [jax.tree_util.keystr(path) for path, _ in jax.tree_util.tree_leaves_with_path(inputs)]
  rng = np.random.default_rng(1)
  for i, (path, grad) in enumerate(zip(paths, jax.tree.leaves(grads), strict=True)):
    direction = rng.standard_normal(leaves[i].shape)
    moved = [leaf + 1e-30j * direction if i == j else leaf for j, leaf in enumerate(leaves)]
    params, tokens, key_bias = jax.tree.unflatten(structure, moved)
    outputs = numpy_forward(params, tokens, keep, valid, key_bias, module)
    expected = sum((x.imag * y).sum() / 1e-30 for x, y in zip(outputs, cotangents, strict=True))
    got = (np.asarray(grad, np.float64) * direction).sum()
    np.testing.assert_allclose(got, expected, rtol=rtol, atol=rtol, err_msg=path)


# name: lengths, layers, pool, views, padding, key bias, whether num_kept is given
RANDOM_CASES = {
  "one_layer_cls_4mod": ((2, 3, 1, 2), 1, "cls", 4, True, True, False),
  "one_layer_cls_1mod": ((5,), 1, "cls", 3, True, False, True),
  "one_layer_cls_many_views": ((2, 1), 1, "cls", 9, False, False, False),
  "one_layer_mean_3mod": ((3, 1, 2), 1, "mean", 3, True, True, True),
  "two_layers_cls_3mod": ((5, 1, 1), 2, "cls", 4, True, True, True),
  "two_layers_mean_1mod": ((6,), 2, "mean", 3, True, False, False),
  "three_layers_cls": ((4, 3), 3, "cls", 3, True, False, False),
}


def random_case(name):
  lengths, layers, pool, views, padded, biased, bounded = RANDOM_CASES[name]
  rng = np.random.default_rng(sum(lengths) + layers)
  batch, width, total = 3, 8, sum(lengths)
  tokens = [rng.standard_normal((batch, n, width)) for n in lengths]
  valid = np.ones((batch, total), bool)
  if padded:
    valid = rng.random((batch, total)) < 0.75
    valid[:, np.cumsum([0, *lengths[:-1]])] = True  # a real token in every modality
  keep = rng.random((views, batch, total)) < 0.5
  keep[..., -1] = False
  keep[0] = False  # everything masked
  if not bounded:
    keep[1] = True  # nothing masked: n = 0
  key_bias = rng.standard_normal((batch, total)) * biased
  shapes = (len(lengths) + 1, batch, width), (views, batch, width)
  cotangents = tuple(rng.standard_normal(shape) for shape in shapes)
  module = FusionTransformer(width, 2, layers, pool)
  bound = int(keep.sum(-1).max()) if bounded else None
  return module, bound, (random_params(module, lengths), tokens, key_bias), keep, valid, cotangents


@pytest.mark.parametrize("name", RANDOM_CASES)
def test_exact_matches_numpy(x64, name):
  module, bound, inputs, keep, valid, cotangents = random_case(name)
  grads, outputs = grads_and_outputs(module, bound)(*inputs, keep, valid, cotangents)
  params, tokens, key_bias = inputs
  expected = numpy_forward(params, tokens, keep, valid, key_bias, module)
  assert_trees_close(outputs, expected, 1e-10, 1e-10)
  assert_gradients_match_numpy(grads, inputs, keep, valid, cotangents, module, 1e-9)


@pytest.mark.parametrize("name", ["one_layer_cls_4mod", "one_layer_mean_3mod"])
def test_dense_matches_numpy(x64, name):
  module, _, inputs, keep, valid, cotangents = random_case(name)
  dense = grads_and_outputs(module.clone(implementation="dense"))
  grads, outputs = dense(*inputs, keep, valid, cotangents)
  params, tokens, key_bias = inputs
  expected = numpy_forward(params, tokens, keep, valid, key_bias, module)
  assert_trees_close(outputs, expected, 1e-10, 1e-10)
  assert_gradients_match_numpy(grads, inputs, keep, valid, cotangents, module, 1e-9)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", ["cls_2mod_r05", "cls_2mod_r08_L1", "cls_3mod_r07", "cls_1mod"])
def test_masked_views_match_the_published_code(x64, golden, case, implementation):
  arrays, meta = golden("fusion_transformer_cls")
  meta = meta[case]
  module = FusionTransformer(meta["width"], meta["heads"], meta["layers"], "cls", implementation)
  tokens = [arrays[f"{case}/x{i}"] for i in range(len(meta["lens"]))]
  keep = arrays[f"{case}/masks"] == 1
  bound = sum(num_kept(n, meta["ratio"]) for n in meta["lens"])
  assert bound == keep.sum(-1).max() == keep.sum(-1).min()
  batch = tokens[0].shape[0]
  unimodal = np.zeros((len(tokens), batch, meta["width"]))
  cotangents = (
    np.concatenate([unimodal, arrays[f"{case}/cot_out"][None]]),
    arrays[f"{case}/cot_mask"],
  )
  params = from_torch(arrays, f"{case}/sd")
  (grads, token_grads, _), (subsets, masked) = grads_and_outputs(module, bound)(
    params, tokens, np.zeros(keep.shape[1:]), keep, np.ones(keep.shape[1:], bool), cotangents
  )
  np.testing.assert_allclose(subsets[-1], arrays[f"{case}/out"], rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(masked, arrays[f"{case}/mask_out"], rtol=1e-9, atol=1e-12)
  assert_trees_close(grads, from_torch(arrays, f"{case}/gsd"), 1e-7, 1e-12)
  expected = [arrays[f"{case}/gx{i}"] for i in range(len(tokens))]
  assert_trees_close(token_grads, expected, 1e-7, 1e-12)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
@pytest.mark.parametrize("case", ["cls", "mean", "cls3"])
def test_full_set_matches_the_published_comm(x64, golden, case, implementation):
  arrays, meta = golden("mmfusion")
  meta = meta[case]
  module = FusionTransformer(
    meta["width"], meta["heads"], meta["layers"], meta["pool"], implementation
  )
  names = sorted(name for name in arrays.files if name.startswith(f"{case}/x"))
  params = from_torch(arrays, f"{case}/sd")
  params["mask_token"] = np.zeros((1, 1, meta["width"]))
  subsets, masked = jax.jit(module.apply)({"params": params}, [arrays[name] for name in names])
  assert masked is None and subsets.shape[0] == len(names) + 1
  np.testing.assert_allclose(subsets[-1], arrays[f"{case}/out"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("num_layers", [1, 2])
def test_scores_of_100_in_float32(num_layers):
  """Views whose every slot scores 200 below a token they mask must not become 0 / 0."""
  width, rng = 8, np.random.default_rng(0)
  module = FusionTransformer(width, 2, num_layers)
  params = random_params(module, (3, 2))
  direction = np.array([1.0, -1.0] * (width // 2))  # LayerNorm keeps it as it is
  for block in (params[f"block_{i}"] for i in range(num_layers)):
    block["ln1"] = {"scale": np.ones(width), "bias": np.zeros(width)}
    packed = block["attention"]["query_key_value"]
    packed["kernel"][:, :width] = 0  # every query is the bias; every key its token
    packed["kernel"][:, width : 2 * width] = np.eye(width)
    packed["bias"][: 2 * width] = np.concatenate([direction, np.zeros(width)]) * 100 / np.sqrt(4)
  small = lambda *shape: 1e-3 * rng.standard_normal(shape)  # noqa: E731
  params["cls_token"] = -direction + small(1, 1, width)
  params["mask_token"] = -direction + small(1, 1, width)
  x = -direction + small(2, 5, width)
  x[:, 1] = direction
  scores = x @ direction * 100 / np.sqrt(4) / np.sqrt(4) / 2
  assert scores.max() > 99 and scores.min() < -99
  keep = np.ones((2, 2, 5), bool)
  keep[0, :, 1] = False
  keep[1, :, 2:] = False
  valid, tokens, key_bias = np.ones((2, 5), bool), [x[:, :3], x[:, 3:]], np.zeros((2, 5))
  shapes = (3, 2, width), (2, 2, width)
  cotangents = tuple(rng.standard_normal(shape) for shape in shapes)
  inputs = (params, tokens, key_bias)
  single = jax.tree.map(lambda array: array.astype(np.float32), (*inputs, cotangents))
  grads, outputs = grads_and_outputs(module, bound=4)(*single[:3], keep, valid, single[3])
  expected = numpy_forward(params, tokens, keep, valid, key_bias, module)
  assert_trees_close(outputs, expected, 1e-3, 1e-3)
  assert_gradients_match_numpy(grads, inputs, keep, valid, cotangents, module, 1e-2)
