"""Max-pooling of windows of 3 x 3 cells with stride 2, whose gradient is quick on CPUs too."""

import jax
import jax.numpy as jnp
from flax import linen as nn

_ROWS, _COLUMNS = 1, 2  # axes


def max_pool(x: jax.Array, padding: int = 0) -> jax.Array:
  """Takes the highest of each window of 3 x 3 cells, at every second row and column.

  The gradient of a window goes to the first of its highest cells in the order rows, then columns, as in
  PyTorch. `nn.max_pool` is the same; on CPUs XLA takes thirty times as long for its gradient, so that a
  window is pooled there along its columns first and then along its rows, by whole slices.

  Args:
    x: [batch, rows, columns, channels].
    padding: cells beyond each border, which are never the highest.

  Returns:
    [batch, rows', columns', channels]; rows' = (rows + 2 padding - 3) // 2 + 1.
  """
  if jax.default_backend() != "cpu":
    return nn.max_pool(x, (3, 3), strides=(2, 2), padding=((padding, padding),) * 2)
  border = (padding, padding)
  return _pool(jnp.pad(x, ((0, 0), border, border, (0, 0)), constant_values=-jnp.inf))


@jax.custom_vjp
def _pool(x: jax.Array) -> jax.Array:
  return _highest(_highest(x, _COLUMNS), _ROWS)


def _pool_forward(x: jax.Array) -> tuple[jax.Array, tuple[jax.Array, ...]]:
  columns = _highest(x, _COLUMNS)
  pooled = _highest(columns, _ROWS)
  return pooled, (x, columns, pooled)


def _pool_backward(saved: tuple[jax.Array, ...], cotangent: jax.Array) -> tuple[jax.Array]:
  x, columns, pooled = saved
  # The first row that has the maximum of a window, and in it the first column.
  return (_to_first(x, columns, _to_first(columns, pooled, cotangent, _ROWS), _COLUMNS),)


_pool.defvjp(_pool_forward, _pool_backward)


def _cells(x: jax.Array, axis: int) -> list[jax.Array]:
  """Returns the first, second and third cell of every window along an axis."""
  count = (x.shape[axis] - 3) // 2 + 1
  return [jax.lax.slice_in_dim(x, i, i + 2 * count - 1, 2, axis) for i in range(3)]


def _highest(x: jax.Array, axis: int) -> jax.Array:
  first, second, third = _cells(x, axis)
  return jnp.maximum(jnp.maximum(first, second), third)


def _to_first(x: jax.Array, highest: jax.Array, cotangent: jax.Array, axis: int) -> jax.Array:
  """Hands the cotangent of each window along an axis to the first cell that is the highest."""
  first, second, _ = (cell == highest for cell in _cells(x, axis))
  parts = (
    jnp.where(first, cotangent, 0),
    jnp.where(second & ~first, cotangent, 0),
    jnp.where(first | second, 0, cotangent),
  )
  total, zero = 0, jnp.zeros((), cotangent.dtype)
  for i, part in enumerate(parts):
    place = [(0, 0, 0)] * x.ndim
    place[axis] = (i, x.shape[axis] - i - (2 * part.shape[axis] - 1), 1)
    total += jax.lax.pad(part, zero, place)
  return total
