import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import parallel
from synjax.data import pipeline


def test_an_epoch_shows_every_example_once_and_no_epoch_repeats_another():
  order = pipeline.TrainOrder(12, 4, np.array([1, 2]))
  assert order.steps_per_epoch == 3
  epochs = order.take(0, 6).reshape(2, 2, 12)
  for seed in range(2):
    for epoch in range(2):
      np.testing.assert_array_equal(np.sort(epochs[seed, epoch]), np.arange(12))
  assert len({tuple(row) for row in epochs.reshape(4, 12)}) == 4


def test_the_order_depends_on_seed_and_step_alone():
  whole = pipeline.TrainOrder(13, 4, np.array([7, 8])).take(0, 9)
  alone = pipeline.TrainOrder(13, 4, np.array([8]))
  np.testing.assert_array_equal(alone.take(5, 4)[0], whole[1, 5:])
  np.testing.assert_array_equal(alone.take(0, 9)[0], whole[1])


@pytest.mark.parametrize("batch_size", [0, 5])
def test_a_batch_that_does_not_fit_is_refused(batch_size):
  with pytest.raises(ValueError, match="batch_size: expected 1 to 4"):
    pipeline.TrainOrder(4, batch_size, np.array([0]))


def test_the_evaluation_order_covers_everything_and_pads_at_the_end():
  index = pipeline.evaluation_order(10, 4)
  assert index.shape == (3, 4)
  np.testing.assert_array_equal(index.reshape(-1)[:10], np.arange(10))
  assert (index.reshape(-1)[10:] == 9).all()


def test_views_of_shared_and_own_transforms_equal_one_call_each():
  def noise(keys, x):
    return x + jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)

  shared = pipeline.Transform(augment=noise, evaluate=lambda keys, x: x * 2)
  own = pipeline.Transform(augment=lambda keys, x: -x, evaluate=lambda keys, x: x * 3)
  raw = {
    "a": jnp.ones((4, 2)),
    "b": jnp.zeros((4, 2)),
    "c": jnp.ones((4, 3)),
    "label": jnp.arange(4),
  }
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(4))
  transforms = {"a": shared, "b": shared, "c": own}
  views = pipeline.make_views(raw, transforms, ("clean", "aug1", "aug2"), keys)
  for view in ("aug1", "aug2"):
    for name in ("a", "b"):
      np.testing.assert_array_equal(views[view][name], noise(keys(f"{view}/{name}"), raw[name]))
    np.testing.assert_array_equal(views[view]["c"], -raw["c"])
  np.testing.assert_array_equal(views["clean"]["a"], 2 * raw["a"])
  np.testing.assert_array_equal(views["clean"]["label"], raw["label"])
  assert not np.array_equal(views["aug1"]["a"], views["aug2"]["a"])


def test_a_modality_that_was_not_gathered_is_left_out():
  transform = pipeline.Transform(augment=lambda k, x: x, evaluate=lambda k, x: x)
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(2))
  views = pipeline.make_views(
    {"a": jnp.ones((2, 1))}, dict.fromkeys("ab", transform), ("clean",), keys
  )
  assert set(views["clean"]) == {"a"}
