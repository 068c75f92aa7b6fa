"""Random streams by name and by the position of an example."""

import jax
import jax.numpy as jnp
import numpy as np

from synjax import parallel


def test_streams_and_examples_draw_independently_and_reproducibly():
  key, index = jax.random.key(0), jnp.arange(5)
  draw = lambda stream, index: jax.vmap(jax.random.uniform)(  # noqa: E731
    parallel.example_keys(key, stream, index)
  )
  whole = draw("keep/aug1", index)
  np.testing.assert_array_equal(draw("keep/aug1", index[2:4]), whole[2:4])
  assert len(np.unique(np.concatenate([whole, draw("keep/aug2", index)]))) == 10
