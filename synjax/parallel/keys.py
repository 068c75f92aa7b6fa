"""Random streams: nothing stores a key, every draw has a name and an example's position."""

import functools
import zlib

import jax


def stream_key(key: jax.Array, stream: str) -> jax.Array:
  """Derives the key of a named stream, such as "init" or "keep/aug1", from `key`."""
  return jax.random.fold_in(key, zlib.crc32(stream.encode()) & 0x7FFFFFFF)


def example_keys(key: jax.Array, stream: str, index: jax.Array) -> jax.Array:
  """Derives one key an example: equal on 1 and 8 devices, since `index` is the global position.

  Args:
    key: key of the seed and step.
    stream: name of the draw.
    index: int[batch], position in the global batch.

  Returns:
    keys [batch].
  """
  return jax.vmap(functools.partial(jax.random.fold_in, stream_key(key, stream)))(index)
