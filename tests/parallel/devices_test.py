"""Programs over devices against one device."""

import jax
import numpy as np
import pytest

from synjax import losses, parallel


@pytest.mark.parametrize("mode", parallel.MODES)
@pytest.mark.parametrize("count", [1, 4, 8])
def test_the_gradient_over_gathered_negatives_equals_one_device(mode, count):
  devices = parallel.Devices(mode, count)
  rng = np.random.default_rng(0)
  weight = rng.normal(size=(3, 4)).astype(np.float32)
  a, b = rng.normal(size=(2, 8, 3)).astype(np.float32)

  def loss_and_grad(weight, a, b, axis):
    def loss(weight):
      gathered = [parallel.all_gather(x @ weight, axis) for x in (a, b)]
      value = losses.nt_xent(*gathered, temperature=0.5).mean()
      return parallel.mean_over_devices(value, axis)

    return parallel.mean_over_devices(jax.value_and_grad(loss)(weight), axis)

  program = devices.compile(loss_and_grad)
  found = devices.fetch(program(devices.place(weight), devices.split(a, 0), devices.split(b, 0)))
  expected = loss_and_grad(weight, a, b, None)
  jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6), found, expected)
