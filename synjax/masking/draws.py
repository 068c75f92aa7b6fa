"""Draws of one example each, from its own key, whatever else is in the batch."""

import jax


def threefry(keys):
  """Makes threefry keys of any keys.

  Generators other than threefry ignore all but the first key under vmap, which would tie an example's
  draw to its batch; the words of the keys are as good as threefry keys.
  """
  return jax.random.wrap_key_data(jax.random.key_data(keys)[..., :2], impl="threefry2x32")


def standard_normal(keys, example_shape):
  """Draws N(0, 1) of [batch, *example_shape], each example from its own key."""
  return jax.vmap(lambda key: jax.random.normal(key, example_shape))(threefry(keys))
