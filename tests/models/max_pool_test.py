import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from synjax.models import max_pool as module
from synjax.models.max_pool import max_pool


def brute_force(x, cotangent, padding):
  """Pools and goes back window by window; the first maximum, rows before columns, gets all of it."""
  x = np.pad(x, ((0, 0), (padding, padding), (padding, padding), (0, 0)), constant_values=-np.inf)
  y, gradient = np.empty(cotangent.shape), np.zeros(x.shape)
  for n, i, j, c in np.ndindex(*cotangent.shape):
    window = x[n, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3, c]
    row, column = np.unravel_index(window.argmax(), (3, 3))
    y[n, i, j, c] = window[row, column]
    gradient[n, 2 * i + row, 2 * j + column, c] += cotangent[n, i, j, c]
  inside = slice(padding, gradient.shape[1] - padding), slice(padding, gradient.shape[2] - padding)
  return y, gradient[:, inside[0], inside[1]]


@pytest.mark.parametrize(("size", "padding"), [((7, 7), 0), ((6, 9), 0), ((3, 3), 0), ((8, 5), 1)])
def test_windows_and_their_gradient_equal_brute_force_ties_included(size, padding, x64):
  rng = np.random.default_rng(0)
  # Few values, most of them 0 as after a ReLU: nearly every window has ties.
  x = np.maximum(rng.integers(-3, 3, (2, *size, 5)), 0).astype(np.float64)
  shape = [(side + 2 * padding - 3) // 2 + 1 for side in size]
  cotangent = rng.normal(size=(2, *shape, 5))
  y, pullback = jax.vjp(lambda x: max_pool(x, padding), jnp.asarray(x))
  (gradient,) = pullback(jnp.asarray(cotangent))
  assert y.dtype == gradient.dtype == jnp.float64
  expected = brute_force(x, cotangent, padding)
  np.testing.assert_array_equal(y, expected[0])
  np.testing.assert_allclose(gradient, expected[1], rtol=0, atol=1e-15)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_other_backends_keep_the_plain_pooling_and_have_the_same_numbers(monkeypatch, dtype):
  x = jax.nn.relu(jax.random.normal(jax.random.key(0), (2, 9, 11, 4), dtype))
  value_and_grad = jax.value_and_grad(lambda x: jnp.square(max_pool(x, 1)).sum())
  ours = value_and_grad(x)
  text = jax.jit(value_and_grad).lower(x).as_text()
  assert "select_and_scatter" not in text and "reduce_window" not in text
  monkeypatch.setattr(module.jax, "default_backend", lambda: "gpu")
  plain = lambda x: jnp.square(nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))).sum()  # noqa: E731
  texts = [jax.jit(jax.value_and_grad(f)).lower(x).as_text() for f in (plain, plain)]
  other = jax.value_and_grad(lambda x: jnp.square(max_pool(x, 1)).sum())
  assert jax.jit(other).lower(x).as_text() == texts[0]
  np.testing.assert_allclose(ours[0], other(x)[0], rtol=1e-2 if dtype == jnp.bfloat16 else 1e-6)
  np.testing.assert_array_equal(ours[1].astype(jnp.float32), other(x)[1].astype(jnp.float32))


def test_trials_are_pooled_each_by_itself():
  x = jax.random.normal(jax.random.key(0), (3, 2, 7, 7, 4))
  total = lambda x: jnp.square(max_pool(x)).sum()  # noqa: E731
  together = jax.vmap(jax.grad(total))(x)
  np.testing.assert_array_equal(together, jnp.stack([jax.grad(total)(one) for one in x]))
