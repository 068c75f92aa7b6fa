import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import losses, parallel


def test_streams_and_examples_draw_independently_and_reproducibly():
  key, index = jax.random.key(0), jnp.arange(5)
  draw = lambda stream, index: jax.vmap(jax.random.uniform)(  # noqa: E731
    parallel.example_keys(key, stream, index)
  )
  whole = draw("keep/aug1", index)
  np.testing.assert_array_equal(draw("keep/aug1", index[2:4]), whole[2:4])
  assert len(np.unique(np.concatenate([whole, draw("keep/aug2", index)]))) == 10


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
