import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders.robot import ForceEncoder, ProprioceptionEncoder
from tests import torch_weights
from tests.golden.recipe import recipe

FORCE, PROPRIOCEPTION = (
  torch_weights.force_encoder("", ()),
  torch_weights.proprioception_encoder("", ()),
)


@pytest.mark.parametrize(
  ("case", "net", "names"),
  [
    ("force", ForceEncoder(24, "first_step"), FORCE),
    ("force_512", ForceEncoder(512, "first_step"), FORCE),
    ("proprio", ProprioceptionEncoder(32), PROPRIOCEPTION),
  ],
)
def test_matches_published_encoder(x64, golden, case, net, names):
  arrays, meta = golden("encoders")
  meta = meta[case]
  state = recipe(meta["recipe_shapes"], meta["recipe_seed"])
  params = torch_weights.variables(state, names)["params"]
  shape = tuple(arrays[f"{case}/out_shape"])
  cotangent = np.random.RandomState(meta["recipe_seed"] + 1000).standard_normal(shape)

  def loss(params, x):
    y = net.apply({"params": params}, x)
    return jnp.sum(y * cotangent), y

  x = arrays[f"{case}/x"].astype(np.float64)
  (grads, gx), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
  assert y.shape == shape
  # The stored numbers are float32.
  np.testing.assert_allclose(y, arrays[f"{case}/out"], rtol=1e-5, atol=1e-6)
  np.testing.assert_allclose(gx, arrays[f"{case}/gx"], rtol=1e-5, atol=1e-6)
  torch_weights.assert_gradient_norms(grads, arrays, case, names, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("window", "first_unseen"), [("whole", 32), ("first_step", 1)])
def test_window_of_the_force_encoder(window, first_unseen):
  x = np.random.RandomState(0).randn(3, 32, 6).astype(np.float32)
  net = ForceEncoder(8, window)
  variables = net.init(jax.random.key(0), x)
  seen = np.abs(jax.jit(jax.grad(lambda x: net.apply(variables, x).sum()))(x)).max(axis=-1) > 0
  np.testing.assert_array_equal(seen, np.broadcast_to(np.arange(32) < first_unseen, (3, 32)))


def test_default_force_encoder_is_a_convolution_of_stride_two(x64):
  x = np.random.RandomState(0).randn(2, 32, 6)
  net = ForceEncoder(8)
  variables = net.init(jax.random.key(0), x)
  expected = x
  for i in range(1, 6):
    weights = variables["params"][f"layer{i}"]
    kernel = np.asarray(weights["kernel"]).reshape(2, expected.shape[-1], -1)
    steps = range(0, expected.shape[1], 2)
    expected = np.stack(
      [expected[:, t] @ kernel[0] + expected[:, t + 1] @ kernel[1] for t in steps], axis=1
    )
    expected = expected + np.asarray(weights["bias"])
    expected = np.where(expected > 0, expected, 0.1 * expected)
  np.testing.assert_allclose(net.apply(variables, x), expected[:, 0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
  ("net", "shape", "prefix", "names"),
  [
    (ForceEncoder(512), (2, 32, 6), "encoder.encoders.1", torch_weights.force_encoder),
    (
      ProprioceptionEncoder(512),
      (2, 8),
      "encoder.encoders.2",
      torch_weights.proprioception_encoder,
    ),
  ],
)
def test_parameters_have_the_published_shapes(net, shape, prefix, names):
  params = jax.eval_shape(net.init, jax.random.key(0), jnp.zeros(shape))["params"]
  published = torch_weights.zeros("vt3", names(prefix, ()))
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, published)


def test_initialisation_is_pytorchs():
  params = ForceEncoder(8).init(jax.random.key(0), jnp.zeros((1, 32, 6)))["params"]
  for name, fan_in in (("layer2", 32), ("layer4", 128)):
    scaled = np.ravel(params[name]["kernel"]) * fan_in**0.5
    assert 0.95 < np.abs(scaled).max() <= 1
    assert 0.5 < np.abs(params[name]["bias"]).max() * fan_in**0.5 <= 1


def test_bfloat16_stays_close():
  x = np.random.RandomState(0).randn(2, 32, 6).astype(np.float32)
  exact, variables = ForceEncoder(8).init_with_output(jax.random.key(0), x)
  rounded = ForceEncoder(8, dtype=jnp.bfloat16).apply(variables, x)
  assert rounded.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float32(rounded), exact, atol=0.01)


def test_bad_input_and_fields_are_refused():
  with pytest.raises(ValueError, match=r"windows of 32 steps, found shape \(2, 31, 6\)"):
    ForceEncoder(8).init(jax.random.key(0), jnp.zeros((2, 31, 6)))
  with pytest.raises(ValueError, match=r"ForceEncoder expects an input \[batch, length, features"):
    ForceEncoder(8).init(jax.random.key(0), jnp.zeros((32, 6)))
  with pytest.raises(ValueError, match="'whole' or 'first_step', found 'last'"):
    ForceEncoder(8, "last").init(jax.random.key(0), jnp.zeros((2, 32, 6)))
  with pytest.raises(ValueError, match=r"ProprioceptionEncoder expects an input \[batch, features"):
    ProprioceptionEncoder(8).init(jax.random.key(0), jnp.zeros((2, 3, 8)))
