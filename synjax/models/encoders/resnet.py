"""ResNet-18, the image encoder of Vision&Touch."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.layers import BatchNorm, check_layout
from synjax.models.max_pool import max_pool

_WIDTHS = (64, 128, 256, 512)  # of the four stages, two blocks each


class ResNet18(nn.Module):
  """ResNet-18 (He et al. 2016), not pre-trained, no pooling (docs/spec/infmasking.md 1.4).

  Convolution 7 x 7 with stride 2, BN, ReLU, max-pooling 3/2; then four stages of two basic blocks,
  y = ReLU(S(x) + BN(conv(ReLU(BN(conv(x)))))) with 3 x 3 convolutions without bias. The first block
  of stages 2 to 4 halves the map; there S is a 1 x 1 convolution with stride 2 and BN, elsewhere
  the identity. An image of 128 pixels gives a 4 x 4 map of 512 channels.

  Initialisation: convolutions N(0, 2 / fan_out), the second BN scale of every block 0, so that
  blocks start as their shortcut.

  Difference from the published code: with `axis` the batch statistics are those of the global
  batch (published: of each device's share).

  Attributes:
    dtype: computation type; batch statistics are in at least float32.
  """

  dtype: Any = None
  mixes_examples = True

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
      x: [batch, rows, columns, channels].
      valid: bool[batch], False = left out of the batch statistics; None = every image counts.
      train: batch statistics, and an update of the running ones in `batch_stats`.
      axis: device axis of the batch statistics, or None.

    Returns:
      [batch, rows / 32, columns / 32, 512], sizes rounded up.

    Raises:
      ValueError: if x is not a batch of images, or if a training call has one value per channel
        only.
    """
    check_layout(x, "[batch, rows, columns, channels]", "ResNet18")
    statistics = _Statistics(train, axis, valid)
    x = _conv(64, 7, 2, self.dtype, "conv1")(x)
    x = nn.relu(_normalize(BatchNorm(dtype=self.dtype, name="bn1"), x, statistics))
    x = max_pool(x, padding=1)
    for stage, width in enumerate(_WIDTHS, start=1):
      for block in (1, 2):
        stride = 2 if stage > 1 and block == 1 else 1
        name = f"stage{stage}_block{block}"
        x = _BasicBlock(width, stride, dtype=self.dtype, name=name)(x, statistics)
    return x


class _Statistics(NamedTuple):
  """What every BatchNorm of a call is told; `valid` is bool[batch] or None."""

  train: bool
  axis: str | None
  valid: jax.Array | None


class _BasicBlock(nn.Module):
  """Two convolutions beside a shortcut, which is a projection where the map changes its shape."""

  width: int
  stride: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, statistics: _Statistics) -> jax.Array:
    y = _conv(self.width, 3, self.stride, self.dtype, "conv1")(x)
    y = nn.relu(_normalize(BatchNorm(dtype=self.dtype, name="bn1"), y, statistics))
    y = _conv(self.width, 3, 1, self.dtype, "conv2")(y)
    if self.is_initializing():
      # A parameter that is there already is not set by its layer: this scale starts at 0, not 1.
      self.put_variable("params", "bn2", {"scale": jnp.zeros(self.width, jnp.float32)})
    y = _normalize(BatchNorm(dtype=self.dtype, name="bn2"), y, statistics)
    if self.stride > 1:
      x = _conv(self.width, 1, self.stride, self.dtype, "shortcut_conv")(x)
      x = _normalize(BatchNorm(dtype=self.dtype, name="shortcut_bn"), x, statistics)
    return nn.relu(x + y)


def _conv(width: int, size: int, stride: int, dtype: Any, name: str) -> nn.Conv:
  """Creates a convolution without bias that keeps the map's size up to the stride."""
  return nn.Conv(
    width,
    (size, size),
    strides=stride,
    padding=size // 2,
    use_bias=False,
    dtype=dtype,
    kernel_init=nn.initializers.variance_scaling(2.0, "fan_out", "normal"),
    name=name,
  )


def _normalize(norm: BatchNorm, x: jax.Array, statistics: _Statistics) -> jax.Array:
  """Normalises a map: every cell is an example of the batch."""
  train, axis, valid = statistics
  if valid is not None:
    valid = jnp.repeat(valid, x.shape[1] * x.shape[2])
  y = norm(x.reshape(-1, x.shape[-1]), train=train, axis=axis, valid=valid)
  return y.reshape(x.shape)
