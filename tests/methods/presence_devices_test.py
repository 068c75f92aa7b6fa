"""Absent modalities on several devices: the loss and its gradient are those of one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import parallel
from tests.methods.presence_test import lacking, prepare


@pytest.mark.parametrize(
  ("name", "options"),
  [
    ("infmasking", {}),
    ("synib", {"site": "latent", "fill": "ema", "unimodal_weight": 1.0, "reference": "unimodal"}),
  ],
)
def test_two_devices_give_the_loss_and_gradient_of_one(name, options, x64):
  method, params, model_state, raw, info = prepare(name, **options)
  params = jax.tree.map(lambda x: x.astype(jnp.float64), params)
  # All series of the second device are absent, and one on the first.
  present = {"table_present": np.ones(8, bool), "series_present": np.arange(8) % 4 < 3}
  present["series_present"][4:] = False
  batch = lacking(raw, present)

  def step(batch, index, axis):
    own = info.replace(index=index, axis=axis)

    def objective(params):
      out = method.loss(params, model_state, dict.fromkeys(method.views, batch), own)
      total = sum(out.losses.values())
      return parallel.mean_over_devices(total, axis), out.model_state

    (loss, state), gradient = jax.value_and_grad(objective, has_aux=True)(params)
    return parallel.mean_over_devices((loss, gradient), axis), state

  expected, state = jax.jit(lambda batch, index: step(batch, index, None))(batch, jnp.arange(8))
  split = jax.tree.map(lambda x: x.reshape(2, 4, *x.shape[1:]), (batch, jnp.arange(8)))
  found, states = jax.pmap(
    lambda batch, index: step(batch, index, "data"), axis_name="data", devices=jax.devices()[:2]
  )(*split)
  close = lambda a, b: np.testing.assert_allclose(a[0], b, rtol=1e-7, atol=1e-9)  # noqa: E731
  jax.tree.map(close, (found, states), (expected, state))
