"""Losses of reconstruction, against a loop over tokens in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from synjax import losses


def test_masked_mse_equals_a_loop_and_shown_tokens_have_no_gradient(x64):
  rng = np.random.default_rng(0)
  prediction, target = rng.normal(size=(2, 3, 5, 4))
  masked = rng.random((3, 5)) < 0.5
  masked[2] = False  # everything is shown
  expected = [
    np.mean([(prediction[b, t] - target[b, t]) ** 2 for t in range(5) if masked[b, t]])
    if masked[b].any()
    else 0.0
    for b in range(3)
  ]
  np.testing.assert_allclose(losses.masked_mse(prediction, target, masked), expected, rtol=1e-12)
  total = lambda p: losses.masked_mse(p, target, masked).sum()  # noqa: E731
  check_grads(total, (prediction,), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)
  np.testing.assert_array_equal(np.asarray(jax.jit(jax.grad(total))(prediction))[~masked], 0)
  wrong = np.where(masked[..., None], prediction, 1e200)  # squared: infinite
  np.testing.assert_allclose(losses.masked_mse(wrong, target, masked), expected, rtol=1e-12)


def test_masks_that_do_not_fit_are_refused():
  wide = jnp.ones((4, 3))
  with pytest.raises(ValueError, match="masked_mse needs"):
    losses.masked_mse(wide, wide, jnp.ones(4, bool))
