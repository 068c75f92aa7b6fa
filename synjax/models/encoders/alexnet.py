"""AlexNet, the image encoder of Trifeature."""

from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from synjax.models.layers import Conv, Dense, check_layout
from synjax.models.max_pool import max_pool

# (output channels, kernel, stride, padding, whether a max-pool follows)
_LAYERS = (
  (64, 11, 4, 2, True),
  (192, 5, 1, 2, True),
  (384, 3, 1, 1, False),
  (256, 3, 1, 1, False),
  (256, 3, 1, 1, True),
)
_SMALLEST_IMAGE = 63  # below this the last pooling window does not fit
_GRID = 6  # the average-pooled map is 6 x 6
_CPU_CHUNK = 16  # images


class AlexNet(nn.Module):
  """Convolutional trunk of AlexNet (Krizhevsky 2014, one-tower form; docs/spec/infmasking.md 1.1).

  Five convolutions with bias and ReLU, max-pooling 3/2 after the first, second and fifth. An image
  of 224 pixels gives a 6 x 6 map of 256 channels.

  Difference from the published code: with `pool="none"` it still owns a classifier of 2.4 M
  parameters that never receives a gradient; here it exists with `pool="average"` only.

  Attributes:
    pool: "none" returns the map. "average" pools it to 6 x 6, flattens it in (channel, row, column)
      order and applies one dense layer, `classifier`.
    features: output width with `pool="average"`.
    dtype: computation type.
  """

  pool: Literal["none", "average"] = "none"
  features: int = 256
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    valid: jax.Array | None = None,
    train: bool = False,
    axis: str | None = None,
  ) -> jax.Array:
    """Encodes images.

    Args:
      x: [batch, rows, columns, 3], normalised colours, at least 63 x 63.
      valid: not used.
      train: not used (the published network has no dropout in this part).
      axis: device axis that shares out the batch, or None.

    Returns:
      [batch, rows', columns', 256], or [batch, features] with `pool="average"`.

    Raises:
      ValueError: if x is not a batch of images or too small, or if `pool` is unknown.
    """
    del valid, train
    check_layout(x, "[batch, rows, columns, channels]", "AlexNet")
    if min(x.shape[1:3]) < _SMALLEST_IMAGE:
      raise ValueError(
        f"AlexNet needs images of at least {_SMALLEST_IMAGE} pixels a side, found shape "
        f"{tuple(x.shape)}: raise config.data.resolution or use PatchConvNet."
      )
    if self.pool not in ("none", "average"):
      raise ValueError(f"AlexNet.pool must be 'none' or 'average', found {self.pool!r}.")

    layers = [
      (Conv(*sizes, dtype=self.dtype, name=f"conv{index}"), pooled)
      for index, (*sizes, pooled) in enumerate(_LAYERS, start=1)
    ]

    def trunk(x):
      for conv, pooled in layers:
        x = nn.relu(conv(x))
        x = max_pool(x) if pooled else x
      return x

    x = _in_chunks(trunk, x, axis)
    if self.pool == "none":
      return x
    x = _adaptive_average_pool(x, _GRID).transpose(0, 3, 1, 2)
    x = x.reshape(x.shape[0], -1)
    return Dense(self.features, dtype=self.dtype, name="classifier")(x)


def _in_chunks(
  function: Callable[[jax.Array], jax.Array], x: jax.Array, axis: str | None
) -> jax.Array:
  """Applies a function of images to a few of them after the other where that is faster: on a CPU.

  XLA takes 1.6 times as long there for the convolutions of 128 images as for 8 times 16. Images that
  several devices share out without an axis of theirs stay together: a chunk would lie on one device.
  """
  together = jax.default_backend() != "cpu" or (axis is None and jax.device_count() > 1)
  if together or len(x) <= _CPU_CHUNK:
    return function(x)
  starts = range(0, len(x), _CPU_CHUNK)
  return jnp.concatenate([function(x[start : start + _CPU_CHUNK]) for start in starts])


def _adaptive_average_pool(x: jax.Array, size: int) -> jax.Array:
  """Averages a map over size x size windows that cover it evenly and may overlap (PyTorch's)."""
  down = jnp.asarray(_window_average(x.shape[1], size), x.dtype)
  across = jnp.asarray(_window_average(x.shape[2], size), x.dtype)
  return jnp.einsum("ra,nabc,sb->nrsc", down, x, across, precision=jax.lax.Precision.HIGHEST)


def _window_average(old: int, new: int) -> np.ndarray:
  """Weights [new, old] of the mean over cells floor(i old / new) .. ceil((i + 1) old / new) - 1."""
  matrix = np.zeros((new, old))
  for i in range(new):
    start, stop = i * old // new, -(-(i + 1) * old // new)
    matrix[i, start:stop] = 1 / (stop - start)
  return matrix
