import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax.sharding import Mesh, PartitionSpec

from synjax.models import layers
from synjax.models.encoders.tabular import DenseReLU
from synjax.models.layers import BatchNorm, Conv, Dense
from synjax.models.trunks import MLPTrunk


def _numpy_batch_norm(calls, mean, var, scale, bias):
  """Runs torch's definition call after call, in a loop."""
  outputs = []
  for x in calls:
    outputs.append((x - x.mean(0)) / np.sqrt(x.var(0) + 1e-5) * scale + bias)
    mean = 0.9 * mean + 0.1 * x.mean(0)
    var = 0.9 * var + 0.1 * x.var(0, ddof=1)
  return np.stack(outputs), mean, var


def _batch_norm_variables(features=3, seed=1):
  rng = np.random.RandomState(seed)
  params = {"scale": 1 + 0.1 * rng.randn(features), "bias": rng.randn(features)}
  return {"params": params, "batch_stats": {"mean": rng.randn(features), "var": rng.rand(features)}}


def test_initialisation_is_uniform_within_inverse_root_fan_in():
  x = jnp.zeros((2, 8, 8, 6))
  dense = Dense(500).init(jax.random.key(0), x)["params"]
  conv = Conv(100, 5).init(jax.random.key(0), x)["params"]
  for params, fan_in in ((dense, 6), (conv, 5 * 5 * 6)):
    for name in ("kernel", "bias"):
      values, bound = np.asarray(params[name]).ravel() * fan_in**0.5, 1
      assert np.abs(values).max() <= bound
      assert np.abs(values).max() > 0.95 * bound
      assert abs(values.mean()) < 4 * (1 / 3 / values.size) ** 0.5
      # A uniform law on (-1, 1) has variance 1/3; the squares have standard deviation 0.3.
      assert abs((values**2).mean() - 1 / 3) < 4 * 0.3 / values.size**0.5
  assert not np.allclose(dense["kernel"][0], dense["bias"])


def test_parameters_stay_float32_and_outputs_follow_dtype():
  x = jnp.ones((4, 6), jnp.bfloat16)
  for layer in (Dense(3, dtype=jnp.bfloat16), Dense(3)):
    y, variables = layer.init_with_output(jax.random.key(0), x)
    assert y.dtype == (layer.dtype or jnp.float32)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("float32")}
  bn = BatchNorm(dtype=jnp.bfloat16)
  y, state = bn.apply(bn.init(jax.random.key(0), x, train=False), x, train=True, mutable=True)
  assert y.dtype == jnp.bfloat16
  assert state["batch_stats"]["mean"].dtype == jnp.float32


def test_bfloat16_batch_norm_takes_its_statistics_in_float32():
  # Around 256 the spacing of bfloat16 is 2: statistics in bfloat16 would miss the deviations.
  x = jnp.asarray(256 + 2 * np.random.RandomState(0).randint(0, 2, (1000, 1)), jnp.bfloat16)
  bn = BatchNorm(dtype=jnp.bfloat16)
  variables = bn.init(jax.random.key(0), x, train=False)
  y, state = bn.apply(variables, x, train=True, mutable=["batch_stats"])
  exact = np.asarray(x, np.float64)
  expected = (exact - exact.mean()) / np.sqrt(exact.var() + 1e-5)
  np.testing.assert_allclose(np.asarray(y, np.float64), expected, rtol=1e-2)
  np.testing.assert_allclose(state["batch_stats"]["mean"], 0.1 * exact.mean(0), rtol=1e-5)


def test_dense_without_bias_and_conv_are_the_plain_sums(x64):
  rng = np.random.RandomState(0)
  x, kernel = rng.randn(2, 6, 7, 3), rng.randn(3, 3, 3, 4)
  y = Dense(4, use_bias=False).apply({"params": {"kernel": kernel[0, 0]}}, x)
  np.testing.assert_allclose(y, x @ kernel[0, 0], rtol=1e-12)
  bias = rng.randn(4)
  y = Conv(4, 3, stride=2, padding=1).apply({"params": {"kernel": kernel, "bias": bias}}, x)
  padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
  expected = sum(
    padded[:, i : i + 5 : 2, j : j + 7 : 2] @ kernel[i, j] for i in range(3) for j in range(3)
  )
  np.testing.assert_allclose(y, expected + bias, rtol=1e-12, atol=1e-12)


def test_product_with_space_to_depth_is_the_convolution_of_equal_stride(x64):
  rng = np.random.RandomState(0)
  x, kernel = rng.randn(2, 6, 9, 2), rng.randn(3, 3, 2, 4)
  params = {"kernel": kernel, "bias": np.zeros(4)}
  conv = Conv(4, 3, stride=3).apply({"params": params}, x)
  product = layers.space_to_depth(jnp.asarray(x), 3) @ kernel.reshape(-1, 4)
  np.testing.assert_allclose(product, conv, rtol=1e-12, atol=1e-12)


def test_each_leading_axis_is_a_call_in_order(x64):
  x = np.random.RandomState(0).randn(2, 3, 5, 3) * 2 + 1
  variables = _batch_norm_variables()
  params, stats = variables["params"], variables["batch_stats"]
  out, mean, var = _numpy_batch_norm(x.reshape(6, 5, 3), **stats, **params)
  y, state = BatchNorm().apply(variables, x, train=True, mutable=["batch_stats"])
  np.testing.assert_allclose(y, out.reshape(x.shape), rtol=1e-12, atol=1e-12)
  np.testing.assert_allclose(state["batch_stats"]["mean"], mean, rtol=1e-12)
  np.testing.assert_allclose(state["batch_stats"]["var"], var, rtol=1e-12)
  reverse = BatchNorm().apply(variables, x[::-1], train=True, mutable=True)[1]["batch_stats"]
  assert not np.allclose(reverse["mean"], mean)


def test_one_call_may_leave_out_the_call_axis(x64):
  x, variables = np.random.RandomState(0).randn(5, 3), _batch_norm_variables()
  one, state = BatchNorm().apply(variables, x, train=True, mutable=True)
  stacked, stacked_state = BatchNorm().apply(variables, x[None], train=True, mutable=True)
  np.testing.assert_array_equal(one, stacked[0])
  jax.tree.map(np.testing.assert_array_equal, state, stacked_state)


def test_evaluation_uses_running_statistics_and_init_leaves_them(x64):
  x, variables = np.random.RandomState(0).randn(4, 3) + 5, _batch_norm_variables()
  params, stats = variables["params"], variables["batch_stats"]
  expected = (x - stats["mean"]) / np.sqrt(stats["var"] + 1e-5) * params["scale"] + params["bias"]
  y = BatchNorm().apply(variables, x, train=False)
  np.testing.assert_allclose(y, expected, rtol=1e-12)
  for train in (False, True):
    fresh = BatchNorm().init(jax.random.key(0), x, train=train)["batch_stats"]
    np.testing.assert_array_equal(fresh["mean"], np.zeros(3))
    np.testing.assert_array_equal(fresh["var"], np.ones(3))


def test_large_means_do_not_cancel_in_the_variance():
  x = np.random.RandomState(0).randn(64, 3) + 3000
  bn = BatchNorm()
  variables = bn.init(jax.random.key(0), x, train=False)
  x = np.float32(x)
  y, _ = bn.apply(variables, jnp.asarray(x), train=True, mutable=True)
  exact = np.float64(x)
  expected = (exact - exact.mean(0)) / np.sqrt(exact.var(0) + 1e-5)
  np.testing.assert_allclose(y, expected, atol=2e-3)


@pytest.mark.parametrize("mode", ["pmap", "shard_map"])
@pytest.mark.parametrize("devices", [2, 4])
def test_synchronised_statistics_equal_the_global_batch(x64, mode, devices):
  rng = np.random.RandomState(0)
  x, cotangent = rng.randn(2, 8, 3) * 2 + 1, rng.randn(2, 8, 3)
  variables = _batch_norm_variables()

  def step(x, cotangent, axis):
    def loss(params, x):
      y, state = BatchNorm().apply(
        {**variables, "params": params}, x, train=True, axis=axis, mutable=["batch_stats"]
      )
      local = jnp.sum(y * cotangent) * (1 if axis is None else devices)
      value = local if axis is None else jax.lax.pmean(local, axis)
      return value, (y, state["batch_stats"])

    (value, (y, stats)), (grads, gx) = jax.value_and_grad(loss, (0, 1), has_aux=True)(
      variables["params"], x
    )
    if axis is not None and mode == "pmap":
      grads = jax.lax.pmean(grads, axis)
    return value, stats, grads, y, gx

  def split(array):
    return np.stack(np.split(array, devices, axis=1))

  expected = step(x, cotangent, None)
  if mode == "pmap":
    mapped = jax.pmap(lambda x, c: step(x, c, "data"), axis_name="data")
    value, stats, grads, y, gx = mapped(split(x), split(cotangent))
    value, stats, grads = jax.tree.map(lambda leaf: leaf[-1], (value, stats, grads))
    y, gx = (np.concatenate(leaf, axis=1) for leaf in (y, gx))
    gx = gx / devices  # the gradient of one device's share is summed over devices under pmap
  else:
    mesh = Mesh(np.array(jax.devices()[:devices]), ("data",))
    shared, whole = PartitionSpec(None, "data"), PartitionSpec()
    mapped = jax.shard_map(
      lambda x, c: step(x, c, "data"),
      mesh=mesh,
      in_specs=(shared, shared),
      out_specs=(whole, whole, whole, shared, shared),
    )
    value, stats, grads, y, gx = jax.jit(mapped)(x, cotangent)
  actual = (value, stats, grads, y, gx)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10), actual, expected
  )


def test_maps_under_flattening_share_statistics_over_cells(x64):
  x, variables = np.random.RandomState(0).randn(2, 4, 4, 3), _batch_norm_variables()
  y, _ = BatchNorm().apply(variables, x.reshape(-1, 3), train=True, mutable=True)
  plain = nn.BatchNorm(use_running_average=False, epsilon=1e-5, use_fast_variance=False)
  linen, _ = plain.apply(variables, x, mutable=True)
  np.testing.assert_allclose(y.reshape(x.shape), linen, rtol=1e-9, atol=1e-10)


def test_user_errors_name_shape_and_remedy():
  bn = BatchNorm()
  variables = bn.init(jax.random.key(0), jnp.zeros((2, 3)), train=False)
  with pytest.raises(ValueError, match=r"at least 2 examples.*\(4, 1, 3\)"):
    bn.apply(variables, jnp.zeros((4, 1, 3)), train=True, mutable=True)
  with pytest.raises(ValueError, match="add the batch axis"):
    bn.apply(variables, jnp.zeros(3), train=True, mutable=True)
  with pytest.raises(ValueError, match="multiples"):
    layers.space_to_depth(jnp.zeros((1, 6, 7, 3)), 2)
  with pytest.raises(ValueError, match=r"MLP expects an input \[batch, features\]"):
    layers.check_layout(jnp.zeros((1, 6, 7)), "[batch, features]", "MLP")


def test_statistics_are_of_the_valid_examples_and_a_call_without_two_moves_nothing(x64):
  x = np.random.RandomState(0).randn(4, 5, 3) * 2 + 1
  valid = np.array([[1, 1, 0, 1, 0], [0] * 5, [1] * 5, [0, 1, 0, 0, 0]], bool)
  variables = _batch_norm_variables()
  params, stats = variables["params"], variables["batch_stats"]
  mean, var = stats["mean"], stats["var"]

  @jax.jit
  def run(x):
    def loss(x):
      y, state = BatchNorm().apply(
        variables, x, train=True, valid=jnp.asarray(valid), mutable=["batch_stats"]
      )
      return jnp.sum(jnp.where(valid[..., None], y, 0) ** 3), (y, state["batch_stats"])

    return jax.grad(loss, has_aux=True)(x)

  gradient, (y, state) = run(x)
  for call in (0, 2):
    out, mean, var = _numpy_batch_norm(x[None, call, valid[call]], mean, var, **params)
    np.testing.assert_allclose(y[call][valid[call]], out[0], rtol=1e-9)
  np.testing.assert_allclose(state["mean"], mean, rtol=1e-9)
  np.testing.assert_allclose(state["var"], var, rtol=1e-9)
  assert np.isfinite(y).all() and np.isfinite(gradient).all()
  np.testing.assert_array_equal(gradient[~valid], 0)
  other, (again, moved) = run(
    np.where(valid[..., None], x, 50 * np.random.RandomState(1).randn(*x.shape))
  )
  np.testing.assert_array_equal(again[valid], y[valid])
  jax.tree.map(np.testing.assert_array_equal, (moved, other), (state, gradient))
  shared = jax.vmap(
    lambda x, valid: BatchNorm().apply(
      variables, x, train=True, axis="data", valid=valid, mutable=["batch_stats"]
    ),
    axis_name="data",
  )
  shares = [np.stack(np.split(part[:, :4], 2, axis=1)) for part in (x, valid)]
  apart, spread = shared(*map(jnp.asarray, shares))
  whole, together = BatchNorm().apply(
    variables, x[:, :4], train=True, valid=jnp.asarray(valid[:, :4]), mutable=["batch_stats"]
  )
  np.testing.assert_allclose(np.concatenate(apart, axis=1), whole, rtol=1e-9, atol=1e-12)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-9), spread, together)


@pytest.mark.parametrize(("widths", "places"), [((7,), 1), ((7, 6), 1), ((7, 6, 5), 2)])
@pytest.mark.parametrize("kind", ["trunk", "encoder"])
def test_dropout_follows_every_relu_but_the_last_and_that_of_a_single_layer(kind, widths, places):
  # docs/spec/synib.md 5.2 (one layer) and 3.2 (two).
  module = {
    "trunk": lambda: MLPTrunk(widths, 0.5),
    "encoder": lambda: DenseReLU(widths, 0.5),
  }[kind]()
  x = jnp.asarray(np.random.RandomState(0).randn(400, 4), jnp.float32)
  inputs = [x] if kind == "trunk" else x
  variables = module.init(jax.random.key(0), inputs)
  out = module.apply(variables, inputs, train=True, rngs={"dropout": jax.random.key(1)})
  plain = np.asarray(module.apply(variables, inputs, train=False))
  if len(widths) == 1:  # half of the entries are 0, the others doubled
    kept = (out != 0) & (plain > 0)
    np.testing.assert_allclose(out[kept], 2 * plain[kept], rtol=1e-6)
    assert abs(kept.sum() / (plain > 0).sum() - 0.5) < 4 * 0.5 / (plain > 0).sum() ** 0.5
  else:
    assert not np.allclose(out, plain)
  draws = []
  original = layers.keep_bits
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(
      layers,
      "keep_bits",
      lambda key, rate, shape: draws.append(shape) or original(key, rate, shape),
    )
    module.apply(variables, inputs, train=True, rngs={"dropout": jax.random.key(1)})
  assert draws == [(400, width) for width in widths[:places]]


def test_dropout_where_no_layer_has_it_is_refused():
  with pytest.raises(ValueError, match="dropout: expected 0 where there are no layers, found 0.5"):
    MLPTrunk((), 0.5).init(jax.random.key(0), [jnp.ones((2, 3))])
