"""Fusion transformer against golden arrays, an independent NumPy forward, and itself done densely."""

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


def compile_quickly(function, **options):
  """jit without the optimisations of LLVM: compiling is what takes the time here."""
  return jax.jit(function, compiler_options={"xla_backend_optimization_level": 0}, **options)


def grads_and_outputs(module, bound=None):
  """Compiled gradients of sum(outputs * cotangents) by parameters, tokens and key biases."""

  def scalar(params, tokens, key_bias, keep, valid, cotangents):
    outputs = module.apply({"params": params}, tokens, keep, bound, valid, key_bias)
    return sum((x * y).sum() for x, y in zip(outputs, cotangents, strict=True)), outputs

  return compile_quickly(jax.grad(scalar, argnums=(0, 1, 2), has_aux=True))


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
  "two_layers_cls": ((5, 1), 2, "cls", 4, True, True, True),
  "two_layers_mean_1mod": ((6,), 2, "mean", 3, True, False, False),
  "three_layers_cls": ((4, 3), 3, "cls", 3, True, False, True),
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


@pytest.mark.parametrize("name", [name for name in RANDOM_CASES if "three" not in name])
def test_exact_matches_numpy(x64, name):
  module, bound, inputs, keep, valid, cotangents = random_case(name)
  grads, outputs = grads_and_outputs(module, bound)(*inputs, keep, valid, cotangents)
  params, tokens, key_bias = inputs
  expected = numpy_forward(params, tokens, keep, valid, key_bias, module)
  assert_trees_close(outputs, expected, 1e-10, 1e-10)
  assert_gradients_match_numpy(grads, inputs, keep, valid, cotangents, module, 1e-9)


@pytest.mark.parametrize(
  ("name", "implementation"),
  [("three_layers_cls", "exact"), ("one_layer_mean_3mod", "dense"), ("two_layers_cls", "dense")],
)
def test_values_match_numpy(x64, name, implementation):
  module, bound, (params, tokens, key_bias), keep, valid, _ = random_case(name)
  module = module.clone(implementation=implementation)
  apply = compile_quickly(module.apply, static_argnums=3)
  outputs = apply({"params": params}, tokens, keep, bound, valid, key_bias)
  expected = numpy_forward(params, tokens, keep, valid, key_bias, module)
  assert_trees_close(outputs, expected, 1e-10, 1e-10)


def published_case(golden, case, implementation):
  arrays, meta = golden("fusion_transformer_cls")
  meta = meta[case]
  module = FusionTransformer(meta["width"], meta["heads"], meta["layers"], "cls", implementation)
  tokens = [arrays[f"{case}/x{i}"] for i in range(len(meta["lens"]))]
  keep = arrays[f"{case}/masks"] == 1
  bound = sum(num_kept(n, meta["ratio"]) for n in meta["lens"])
  assert bound == keep.sum(-1).max() == keep.sum(-1).min()
  return arrays, module, tokens, keep, bound


GRADIENT_CASES = [
  *((case, "exact") for case in ("cls_2mod_r05", "cls_2mod_r08_L1", "cls_3mod_r07", "cls_1mod")),
  ("cls_2mod_r05", "dense"),
]


@pytest.mark.parametrize(("case", "implementation"), GRADIENT_CASES)
def test_values_and_gradients_match_the_published_code(x64, golden, case, implementation):
  arrays, module, tokens, keep, bound = published_case(golden, case, implementation)
  batch, total = keep.shape[1:]
  unimodal = np.zeros((len(tokens), batch, module.width))
  cotangents = np.concatenate([unimodal, arrays[f"{case}/cot_out"][None]])
  cotangents = (cotangents, arrays[f"{case}/cot_mask"])
  inputs = (from_torch(arrays, f"{case}/sd"), tokens, np.zeros((batch, total)))
  (grads, token_grads, _), (subsets, masked) = grads_and_outputs(module, bound)(
    *inputs, keep, np.ones((batch, total), bool), cotangents
  )
  np.testing.assert_allclose(subsets[-1], arrays[f"{case}/out"], rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(masked, arrays[f"{case}/mask_out"], rtol=1e-9, atol=1e-12)
  assert_trees_close(grads, from_torch(arrays, f"{case}/gsd"), 1e-7, 1e-12)
  expected = [arrays[f"{case}/gx{i}"] for i in range(len(tokens))]
  assert_trees_close(token_grads, expected, 1e-7, 1e-12)


@pytest.mark.parametrize("case", ["cls_2mod_r08_L1", "cls_3mod_r07", "cls_1mod"])
def test_dense_values_match_the_published_code(x64, golden, case):
  arrays, module, tokens, keep, _ = published_case(golden, case, "dense")
  variables = {"params": from_torch(arrays, f"{case}/sd")}
  subsets, masked = compile_quickly(module.apply)(variables, tokens, keep)
  np.testing.assert_allclose(subsets[-1], arrays[f"{case}/out"], rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(masked, arrays[f"{case}/mask_out"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
  ("case", "implementation"),
  [("cls", "exact"), ("cls3", "exact"), ("mean", "exact"), ("mean", "dense")],
)
def test_full_set_matches_the_published_comm(x64, golden, case, implementation):
  arrays, meta = golden("mmfusion")
  meta = meta[case]
  module = FusionTransformer(
    meta["width"], meta["heads"], meta["layers"], meta["pool"], implementation
  )
  names = sorted(name for name in arrays.files if name.startswith(f"{case}/x"))
  params = from_torch(arrays, f"{case}/sd")
  params["mask_token"] = np.zeros((1, 1, meta["width"]))
  tokens = [arrays[name] for name in names]
  subsets, masked = compile_quickly(module.apply)({"params": params}, tokens)
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
  expected = numpy_forward(params, tokens, keep, valid, key_bias, module)
  if num_layers == 2:
    apply = compile_quickly(module.apply, static_argnums=3)
    outputs = apply({"params": single[0]}, single[1], keep, 4)
  else:
    grads, outputs = grads_and_outputs(module)(*single[:3], keep, valid, single[3])
    assert_gradients_match_numpy(grads, inputs, keep, valid, cotangents, module, 1e-2)
  assert_trees_close([*outputs], [*expected], 1e-3, 1e-3)


def small_case(pool="cls", num_layers=2, batch=2, lengths=(3, 2), num_views=2, **options):
  """A float32 module with parameters, tokens and keep masks of at most 3 kept tokens."""
  module = FusionTransformer(8, 2, num_layers, pool, **options)
  rng = np.random.default_rng(0)
  params = jax.tree.map(lambda a: a.astype(np.float32), random_params(module, lengths))
  tokens = [rng.standard_normal((batch, n, 8)).astype(np.float32) for n in lengths]
  keep = np.argsort(rng.random((num_views, batch, sum(lengths))), axis=-1) < 3
  return module, {"params": params}, tokens, keep


def test_content_of_padding_does_not_matter():
  module, variables, tokens, keep = small_case("mean", 1)
  valid = np.array([[True, True, False, True, True], [False] * 5])

  def scalar(variables, tokens):
    outputs = module.apply(variables, tokens, keep, 3, valid)
    return sum((x**2).sum() for x in outputs), outputs

  apply = compile_quickly(jax.grad(scalar, argnums=(0, 1), has_aux=True))
  grads, outputs = apply(variables, tokens)
  for embeddings in outputs:  # the second example has no token at all
    assert np.all(embeddings[:, 0] != 0) and not np.any(embeddings[:, 1])
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))
  assert not np.concatenate(grads[1], 1)[~valid].any()

  spoilt = np.where(valid[..., None], np.concatenate(tokens, 1), np.nan)
  assert_trees_close(apply(variables, [spoilt[:, :3], spoilt[:, 3:]]), (grads, outputs), 0, 0)


def test_a_broken_bound_gives_nan_in_its_view_alone():
  module, variables, tokens, keep = small_case(num_layers=1)
  keep[1, 0] = True
  subsets, masked = compile_quickly(module.apply, static_argnums=3)(variables, tokens, keep, 3)
  broken = np.zeros((2, 2), bool)
  broken[1, 0] = True
  np.testing.assert_array_equal(np.isnan(masked).all(-1), broken)
  np.testing.assert_array_equal(np.isnan(masked).any(-1), broken)
  assert np.isfinite(subsets).all()


def test_bfloat16_compute_keeps_parameters_and_statistics_in_float32():
  module, variables, tokens, keep = small_case(num_layers=1)
  single = compile_quickly(module.apply, static_argnums=3)(variables, tokens, keep, 3)
  module = module.clone(dtype=jnp.bfloat16)
  shapes = jax.eval_shape(module.init, jax.random.key(0), tokens)
  assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype("float32")}
  half = compile_quickly(module.apply, static_argnums=3)(variables, tokens, keep, 3)
  for got, expected in zip(half, single, strict=True):
    assert got.dtype == jnp.bfloat16
    np.testing.assert_allclose(got.astype(jnp.float32), expected, atol=0.1)
  jaxpr = str(jax.make_jaxpr(lambda v: module.apply(v, tokens, keep, 3))(variables))
  sums = [line for line in jaxpr.splitlines() if " exp " in line or "reduce_sum" in line]
  assert sums and not any(":bf16" in line.split("=")[0] for line in sums)


def test_a_batch_sharded_over_devices_needs_no_communication():
  module, variables, tokens, keep = small_case(batch=8)
  apply = compile_quickly(module.apply, static_argnums=3)
  expected = apply(variables, tokens, keep, 3)
  mesh = jax.make_mesh((8,), ("data",))
  by_batch, by_second = (
    jax.NamedSharding(mesh, jax.P(*axes)) for axes in (("data",), (None, "data"))
  )
  inputs = (variables, jax.device_put(tokens, by_batch), jax.device_put(keep, by_second))
  sharded = apply.lower(*inputs, 3).compile()
  assert "all-gather" not in sharded.as_text() and "all-reduce" not in sharded.as_text()
  assert_trees_close(sharded(*inputs), expected, 1e-5, 1e-5)


def test_devices_under_pmap_and_seeds_under_vmap():
  module, variables, tokens, keep = small_case(num_layers=1, batch=8)
  apply = compile_quickly(module.apply)
  expected = apply(variables, tokens, keep)
  split = [x[:, None] for x in tokens], np.moveaxis(keep, 1, 0)[:, :, None]
  per_device = jax.pmap(module.apply, in_axes=(None, 0, 0))(variables, *split)
  for got, value in zip(per_device, expected, strict=True):
    np.testing.assert_allclose(np.moveaxis(got[:, :, 0], 0, 1), value, rtol=1e-5, atol=1e-5)

  seeds = jax.tree.map(lambda a: np.stack([a, a * 1.5]), variables)
  stacked = compile_quickly(jax.vmap(module.apply, in_axes=(0, None, None)))(seeds, tokens, keep)
  assert_trees_close([out[0] for out in stacked], [*expected], 1e-5, 1e-5)
  second = apply(jax.tree.map(lambda a: a * 1.5, variables), tokens, keep)
  assert_trees_close([out[1] for out in stacked], [*second], 1e-5, 1e-5)


def cost(implementation, num_views, num_layers=1, bound=None):
  """Floating-point operations of a training step's fusion at the size of Trifeature runs."""
  module = FusionTransformer(512, 8, num_layers, implementation=implementation)
  tokens = [jax.ShapeDtypeStruct((64, 36, 512), jnp.float32)] * 2
  keep = jax.ShapeDtypeStruct((num_views, 64, 72), bool)
  params = jax.eval_shape(module.init, jax.random.key(0), tokens)
  total = lambda p, x, k: sum(out.sum() for out in module.apply(p, x, k, bound))  # noqa: E731
  step = jax.jit(jax.grad(total, argnums=(0, 1))).lower(params, tokens, keep)
  return step.cost_analysis()["flops"]


def test_masked_views_are_nearly_free():
  dense = cost("dense", 1)
  assert cost("exact", 6) < dense / 25
  assert cost("exact", 64) < dense / 3
  assert cost("exact", 5, num_layers=2, bound=14) < 0.22 * cost("dense", 5, num_layers=2)


def test_parameters_are_those_of_the_paper_for_both_implementations():
  tokens = [jax.ShapeDtypeStruct((1, 3, 512), jnp.float32)]
  shapes = [
    jax.eval_shape(FusionTransformer(512, 8, 1, "cls", name).init, jax.random.key(0), tokens)
    for name in IMPLEMENTATIONS
  ]
  assert jax.tree.structure(shapes[0]) == jax.tree.structure(shapes[1])
  assert sum(leaf.size for leaf in jax.tree.leaves(shapes[0])) == 12 * 512**2 + 17 * 512
  names = {
    path[-1].key for path, leaf in jax.tree_util.tree_leaves_with_path(shapes[0]) if leaf.ndim == 1
  }
  assert names == {"bias", "scale"}  # all that weight decay spares
  mean = jax.eval_shape(FusionTransformer(512, 8, 1, "mean").init, jax.random.key(0), tokens)
  assert set(shapes[0]["params"]) - set(mean["params"]) == {"cls_token"}


def test_initial_values():
  width, layers = 128, 2
  module, tokens = FusionTransformer(width, 4, layers), [np.zeros((1, 2, width), np.float32)]

  def init(key):  # of one block alone, to save compiling the other
    params = module.init(key, tokens)["params"]
    return params["block_1"], params["norm"], params["cls_token"], params["mask_token"]

  block, norm, cls_token, mask_token = compile_quickly(init)(jax.random.key(0))
  attention, mlp = block["attention"], block["mlp"]
  out_stddev = width**-0.5 * (2 * layers) ** -0.5
  for kernel, stddev in (
    (attention["query_key_value"], width**-0.5),
    (attention["out"], out_stddev),
    (mlp["expand"], (2 * width) ** -0.5),
    (mlp["contract"], out_stddev),
  ):
    np.testing.assert_allclose(kernel["kernel"].std(), stddev, rtol=0.03)
  for bias, bound in ((mlp["expand"], width**-0.5), (mlp["contract"], (4 * width) ** -0.5)):
    assert 0.9 * bound < np.abs(bias["bias"]).max() <= bound
    assert abs(bias["bias"].mean()) < 0.25 * bound
  assert not attention["query_key_value"]["bias"].any() and not attention["out"]["bias"].any()
  assert (block["ln1"]["scale"] == 1).all() and not norm["bias"].any()
  assert 0.018 < np.abs(mask_token).max() <= 0.02
  np.testing.assert_allclose(cls_token.std(), 1, atol=0.2)


X = np.zeros((2, 3, 8), np.float32)


@pytest.mark.parametrize(
  ("options", "inputs", "message"),
  [
    ({"num_heads": 3}, {}, r"multiple of config\.model\.num_heads"),
    ({"num_layers": 0}, {}, "num_layers"),
    ({"pool": "max"}, {}, "'max'"),
    ({"implementation": "fast"}, {}, "'fast'"),
    ({}, {"tokens": []}, "tokens"),
    ({}, {"tokens": [X, X[:1]]}, r"\(1, 3, 8\)"),
    ({}, {"tokens": [X[..., :4]]}, "of this width, 8, found 4"),
    ({}, {"tokens": [X[:, 0]]}, r"\(2, 8\)"),
    ({}, {"keep": np.ones((1, 2, 4), bool)}, "keep"),
    ({}, {"keep": np.ones((2, 3), bool)}, "keep"),
    ({}, {"keep": np.ones((1, 2, 3), np.uint8)}, "uint8"),
    ({}, {"valid": np.ones((1, 3), bool)}, "valid"),
    ({}, {"valid": np.ones((2, 3), np.float32)}, "valid"),
    ({}, {"key_bias": np.zeros((2, 4), np.float32)}, "key_bias"),
    ({}, {"key_bias": np.zeros((2, 3), bool)}, "key_bias"),
    ({}, {"keep": np.ones((1, 2, 3), bool), "num_kept": -1}, "num_kept"),
  ],
)
def test_bad_arguments_are_refused(options, inputs, message):
  module = FusionTransformer(**{"width": 8, "num_heads": 2, "num_layers": 1, **options})
  with pytest.raises(ValueError, match=message):
    jax.eval_shape(lambda key: module.init(key, **{"tokens": [X], **inputs}), jax.random.key(0))
