"""Functions of the device axis, against the global batch."""

import jax
import numpy as np

from synjax import parallel


def test_positions_are_those_of_the_global_batch():
  devices = parallel.Devices("pmap", 4)
  program = devices.compile(
    lambda x, axis: parallel.all_gather(parallel.positions(x.shape[0], axis), axis)
  )
  found = devices.fetch(program(devices.split(np.zeros(8, np.float32), 0)))
  np.testing.assert_array_equal(found, np.arange(8))


def test_one_seed_equals_the_same_seed_among_two():
  function = parallel.over_trials(lambda x, y: (x @ y, x.sum()), in_axes=(0, None))
  x, y = (
    np.random.default_rng(0).normal(size=(2, 3, 3)).astype(np.float32),
    np.eye(3, dtype=np.float32),
  )
  one, both = function(x[:1], y), function(x, y)
  jax.tree.map(lambda a, b: np.testing.assert_allclose(a[0], b[0], rtol=1e-6), one, both)
