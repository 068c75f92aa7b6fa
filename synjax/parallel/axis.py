"""The device axis inside compiled code; without one, the function sees the global batch."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def positions(local_batch: int, axis: str | None) -> jax.Array:
  """Returns the positions of this device's examples in the global batch, int[local_batch]."""
  index = jnp.arange(local_batch)
  return index if axis is None else index + jax.lax.axis_index(axis) * local_batch


def all_gather(array: jax.Array, axis: str | None, *, batch_axis: int = 0) -> jax.Array:
  """Returns the global batch of a device's share; the identity without a device axis.

  Differentiable: its transpose sums the gradients of all devices.
  """
  if axis is None:
    return array
  return jax.lax.all_gather(array, axis, axis=batch_axis, tiled=True)


def mean_over_devices(tree: Any, axis: str | None) -> Any:
  """Averages over the device axis; the identity without one."""
  return tree if axis is None else jax.lax.pmean(tree, axis)


def valid_mean(values: jax.Array, valid: jax.Array, axis: str | None) -> jax.Array:
  """Averages over the valid examples of the global batch.

  Args:
    values: [batch], this device's share.
    valid: bool[batch], False = filler.
    axis: device axis, or None.

  Returns:
    Scalar whose mean over the devices is the mean over all valid examples; 0 when there is none.
  """
  count = mean_over_devices(valid.sum().astype(values.dtype), axis)
  return jnp.where(valid, values, 0).sum() / jnp.maximum(count, 1e-6)


def over_trials(function: Callable[..., Any], in_axes: Sequence[int | None]) -> Callable[..., Any]:
  """Maps a function over the leading axis of trials of the arguments whose axis is 0.

  Arguments by keyword, such as the device axis, are the same for all trials. A single trial runs
  without a batch axis: batched products of one are half as fast on CPUs, and take twice as long to
  compile.
  """

  def mapped(*args, **same):
    trials = {
      leaf.shape[0]
      for arg, axis in zip(args, in_axes, strict=True)
      if axis == 0
      for leaf in jax.tree.leaves(arg)
    }
    if trials != {1}:
      one = functools.partial(function, **same)
      return jax.vmap(one, in_axes=tuple(in_axes))(*args)
    single = [
      arg if axis is None else jax.tree.map(lambda x: x[0], arg)
      for arg, axis in zip(args, in_axes, strict=True)
    ]
    return jax.tree.map(lambda x: x[None], function(*single, **same))

  return mapped
