"""ResNet-18, the image encoder of Vision&Touch, and ResNet-50."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.layers import BatchNorm, check_layout
from synjax.models.max_pool import max_pool
from synjax.models.tower_layers import check_choice


class _ResNet(nn.Module):
  """What residual networks share; a subclass has a docstring of its own."""

  output: Literal["map", "tokens", "pooled"] = "map"
  stem: int = 64
  dtype: Any = None
  mixes_examples = True
  blocks = (2, 2, 2, 2)  # of the four stages
  bottleneck = False

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    valid: jax.Array | None = None,
    train: bool = False,
    axis: str | None = None,
  ) -> jax.Array:
    """Encodes images, or several frames of each example as images of their own.

    Args:
      x: [batch, rows, columns, channels], or [batch, frames, rows, columns, channels].
      valid: bool[batch], False = left out of the batch statistics; None = every image counts. Of frames
        bool[batch, frames] as well.
      train: batch statistics, and an update of the running ones in `batch_stats`.
      axis: device axis of the batch statistics, or None.

    Returns:
      [batch, rows / 32, columns / 32, channels'], sizes rounded up; for the output "tokens" its cells,
      frame by frame and row by row, [batch, cells, channels']; for "pooled" their mean.

    Raises:
      ValueError: if x is not a batch of images or frames, if a training call has one value per channel
        only, or frames are to be one map.
    """
    where = type(self).__name__
    check_choice(f"{where}.output", self.output, ("map", "tokens", "pooled"))
    batch, frames = x.shape[0], x.shape[1] if x.ndim == 5 else None
    if frames:
      if self.output == "map":
        raise ValueError(f"{where}: frames are no single map; set output to tokens or pooled")
      x = x.reshape(-1, *x.shape[2:])
      if valid is not None:
        valid = jnp.broadcast_to(valid.reshape(batch, -1), (batch, frames)).reshape(-1)
    check_layout(x, "[batch, rows, columns, channels]", where)
    x = self._map(x, _Statistics(train, axis, valid))
    if self.output == "map":
      return x
    x = x.reshape(batch, -1, x.shape[-1])
    return x if self.output == "tokens" else x.mean(axis=1)

  def _map(self, x, statistics):
    x = _conv(self.stem, 7, 2, self.dtype, "conv1")(x)
    x = nn.relu(_normalize(BatchNorm(dtype=self.dtype, name="bn1"), x, statistics))
    x = max_pool(x, padding=1)
    widths = [self.stem * 2**stage for stage in range(4)]
    block_type = _Bottleneck if self.bottleneck else _BasicBlock
    for stage, (width, count) in enumerate(zip(widths, self.blocks, strict=True), start=1):
      for block in range(1, count + 1):
        stride = 2 if stage > 1 and block == 1 else 1
        name = f"stage{stage}_block{block}"
        x = block_type(width, stride, dtype=self.dtype, name=name)(x, statistics)
    return x


class ResNet18(_ResNet):
  """ResNet-18 (He et al. 2016), no pooling (docs/spec/infmasking.md 1.4).

  Convolution 7 x 7 with stride 2, BN, ReLU, max-pooling 3/2; then four stages of two basic blocks,
  y = ReLU(S(x) + BN(conv(ReLU(BN(conv(x)))))) with 3 x 3 convolutions without bias. The first block
  of stages 2 to 4 halves the map; there S is a 1 x 1 convolution with stride 2 and BN, elsewhere
  the identity. An image of 128 pixels gives a 4 x 4 map of 512 channels.

  Initialisation: convolutions N(0, 2 / fan_out), the second BN scale of every block 0, so that
  blocks start as their shortcut.

  Difference from the published code: with `axis` the batch statistics are those of the global
  batch (published: of each device's share).

  Attributes:
    output: "map", "tokens" (its cells as a sequence) or "pooled" (their mean).
    stem: channels of the first convolution and of the first stage; each further stage has twice as many.
    dtype: computation type; batch statistics are in at least float32.
  """


class ResNet50(_ResNet):
  """ResNet-50 (He et al. 2016), no pooling: (3, 4, 6, 3) bottleneck blocks, 2048 channels.

  y = ReLU(S(x) + BN(W3 ReLU(BN(conv(ReLU(BN(W1 x))))))) with W1 and W3 of 1 x 1, the latter to four times
  the width. The 3 x 3 convolution halves the map, as the pretrained weights expect, not the first one
  as in the paper. Stem, shortcuts and initialisation are those of `ResNet18`.

  Attributes:
    output: "map", "tokens" (its cells as a sequence) or "pooled" (their mean).
    stem: as of `ResNet18`; the last stage has 32 times as many.
    dtype: computation type; batch statistics are in at least float32.
  """

  blocks = (3, 4, 6, 3)
  bottleneck = True


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


class _Bottleneck(nn.Module):
  """Three convolutions beside a shortcut, which is a projection where the map changes its shape."""

  width: int
  stride: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, statistics: _Statistics) -> jax.Array:
    wide, y = 4 * self.width, x
    shapes = ((self.width, 1, 1), (self.width, 3, self.stride), (wide, 1, 1))
    for i, (width, size, stride) in enumerate(shapes, start=1):
      y = _conv(width, size, stride, self.dtype, f"conv{i}")(y)
      if i == 3 and self.is_initializing():
        self.put_variable("params", "bn3", {"scale": jnp.zeros(wide, jnp.float32)})
      y = _normalize(BatchNorm(dtype=self.dtype, name=f"bn{i}"), y, statistics)
      y = nn.relu(y) if i < 3 else y
    if x.shape != y.shape:
      x = _conv(wide, 1, self.stride, self.dtype, "shortcut_conv")(x)
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
