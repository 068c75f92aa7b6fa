import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders.recurrent import GRU
from tests import torch_weights
from tests.golden.recipe import recipe

NAMES = torch_weights.gru("", ())


def _published(golden, case):
  arrays, meta = golden("encoders")
  meta = meta[case]
  state = recipe(meta["recipe_shapes"], meta["recipe_seed"])
  shape = arrays[f"{case}/out_shape"]
  cotangent = np.random.RandomState(meta["recipe_seed"] + 1000).standard_normal(shape)
  return arrays, torch_weights.variables(state, NAMES)["params"], cotangent


@pytest.mark.parametrize(
  ("case", "features", "return_sequence"),
  [("gru_small", 8, True), ("gru_lastonly", 8, False), ("mimic_gru", 512, True)],
)
def test_matches_published_encoder(x64, golden, case, features, return_sequence):
  arrays, params, cotangent = _published(golden, case)
  gru = GRU(features, return_sequence)

  def loss(params, x):
    y = gru.apply({"params": params}, x)
    return jnp.sum(y * cotangent), y

  x = arrays[f"{case}/x"]
  (grads, gx), y = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(params, x)
  step = 7 if case == "mimic_gru" else 1  # every 7th entry is stored
  expected, expected_gx = arrays[f"{case}/out"], arrays[f"{case}/gx"]
  assert y.shape == tuple(arrays[f"{case}/out_shape"])
  np.testing.assert_allclose(np.ravel(y)[::step], expected.ravel(), rtol=1e-9, atol=1e-12)
  np.testing.assert_allclose(np.abs(y).sum(), arrays[f"{case}/out_abs"], rtol=1e-9)
  np.testing.assert_allclose(np.ravel(gx)[::step], expected_gx.ravel(), rtol=1e-7, atol=1e-11)
  torch_weights.assert_gradient_norms(grads, arrays, case, NAMES, rtol=1e-7)


def test_padding_leaves_the_state_and_the_gradient_alone(x64, golden):
  arrays, params, _ = _published(golden, "gru_small")
  x, lengths = arrays["gru_small/x"], (7, 3, 5)
  valid = np.arange(7) < np.array(lengths)[:, None]

  def run(x, valid=None, **fields):
    return GRU(8, **fields).apply({"params": params}, x, valid=valid)

  states, last = run(x, valid), run(x, valid, return_sequence=False)
  for i, length in enumerate(lengths):
    alone = run(x[i : i + 1, :length])[0]
    np.testing.assert_allclose(states[i, :length], alone, rtol=1e-12)
    np.testing.assert_allclose(last[i], alone[-1], rtol=1e-12)
  gx = jax.jit(jax.grad(lambda x: run(x, valid).sum()))(x)
  np.testing.assert_array_equal(gx[~valid], 0)
  assert (np.abs(gx[valid]) > 0).all()


def test_initialisation_is_uniform_within_inverse_root_of_the_state_width():
  params = GRU(64).init(jax.random.key(0), jnp.zeros((1, 2, 12)))["params"]
  shapes = {"kernel_ih": (12, 192), "kernel_hh": (64, 192), "bias_ih": (192,), "bias_hh": (192,)}
  assert jax.tree.map(jnp.shape, params) == shapes
  for values in params.values():
    scaled = np.asarray(values).ravel() * 8
    assert 0.95 < np.abs(scaled).max() <= 1
    assert abs((scaled**2).mean() - 1 / 3) < 4 * 0.3 / scaled.size**0.5


def test_parameters_have_the_published_shapes():
  names = torch_weights.gru("encoder.encoders.1", ())
  params = jax.eval_shape(GRU(512).init, jax.random.key(0), jnp.zeros((2, 3, 12)))["params"]
  published = torch_weights.zeros("mimic", names)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, published)


def test_bfloat16_stays_close_over_many_steps():
  x = np.random.RandomState(0).randn(2, 64, 4).astype(np.float32)
  exact, variables = GRU(16).init_with_output(jax.random.key(0), x)
  rounded = GRU(16, dtype=jnp.bfloat16).apply(variables, x)
  assert rounded.dtype == jnp.bfloat16
  np.testing.assert_allclose(np.float32(rounded), exact, atol=0.01)


def test_same_under_pmap():
  x = np.random.RandomState(0).randn(2, 2, 3, 4).astype(np.float32)
  gru = GRU(8)
  variables = gru.init(jax.random.key(0), x[0])
  y = jax.pmap(lambda x: gru.apply(variables, x, train=True, axis="data"), axis_name="data")(x)
  np.testing.assert_allclose(y[1], gru.apply(variables, x[1]), rtol=1e-5, atol=1e-6)


def test_other_ranks_are_refused():
  with pytest.raises(ValueError, match=r"GRU expects an input \[batch, length, features\]"):
    GRU(8).init(jax.random.key(0), jnp.zeros((2, 5)))
