"""The pre-norm block: slots with log counts, against as many slots as they stand for."""

import jax
import jax.numpy as jnp
import numpy as np

from synjax.models.block import ABSENT, Block
from tests import compiled, drawn


def test_a_slot_that_stands_for_three_is_three_and_an_absent_one_is_not_there(x64):
  block = Block(8, 2, 1)
  x = jax.random.normal(jax.random.key(0), (2, 4, 8))
  params = drawn.variables(block.init, x, jnp.zeros((2, 4)))
  counted = compiled.apply(block, params, x, jnp.log(jnp.array([[1.0, 3.0, 1.0, 1.0]] * 2)))
  repeated = compiled.apply(block, params, x[:, [0, 1, 1, 1, 2, 3]], jnp.zeros((2, 6)))
  np.testing.assert_allclose(counted, repeated[:, [0, 1, 4, 5]], rtol=1e-6)
  absent = compiled.apply(block, params, x, jnp.array([[0.0, 0.0, ABSENT, 0.0]] * 2))
  np.testing.assert_allclose(
    absent[:, [0, 1, 3]],
    compiled.apply(block, params, x[:, [0, 1, 3]], jnp.zeros((2, 3))),
    rtol=1e-6,
  )
