"""A light convolutional trunk for small images, made of matrix products only."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.layers import check_layout, space_to_depth


class PatchConvNet(nn.Module):
  """Stages of strided patch embedding and residual pointwise MLPs; returns a feature map.

  Stage: x <- GELU(W patches(x) + b), then `depth` times x <- x + Dense(GELU(Dense(LN x)))
  with hidden width `expansion` times the width. The first stage cuts the image into patches of
  `patch` pixels, the later ones merge 2 x 2 cells. An overlapping stage reads patches of twice the
  side at the same stride, half a stride beyond the border (zeros), so that what lies on a border
  between patches is seen whole by some patch. The map ends in a LayerNorm.

  Our own design (no paper): AlexNet's map has one cell at 64 pixels. The strided convolutions are
  products of patches with a kernel, because seeds trained under `vmap` would turn convolutions into
  grouped ones, about ten times slower on the CPU. The finest stage has no LayerNorm: there it adds
  a quarter to the time of a training step. The default maps 64 pixels to 4 x 4 x 128 for 9.5 MFLOP
  an image.

  Attributes:
    patch: side of the first stage's patches, in pixels.
    widths: width of each stage.
    depths: number of residual blocks of each stage.
    overlaps: whether each stage reads overlapping patches.
    expansion: hidden width of a block over the stage's width.
    dtype: computation type.
  """

  patch: int = 4
  widths: Sequence[int] = (32, 64, 128)
  depths: Sequence[int] = (0, 1, 1)
  overlaps: Sequence[bool] = (True, False, False)
  expansion: int = 2
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
      x: [batch, rows, columns, channels].
      valid: not used.
      train: not used.
      axis: not used.

    Returns:
      [batch, rows / s, columns / s, widths[-1]] with s = patch * 2^(stages - 1).

    Raises:
      ValueError: if x is not a batch of images, if its sides are not multiples of s, or if the
        attributes of the stages differ in length.
    """
    del valid, train, axis
    check_layout(x, "[batch, rows, columns, channels]", "PatchConvNet")
    if not len(self.widths) == len(self.depths) == len(self.overlaps) > 0:
      raise ValueError(
        "PatchConvNet needs one entry a stage in widths, depths and overlaps, found "
        f"{len(self.widths)}, {len(self.depths)} and {len(self.overlaps)} entries."
      )
    total = self.patch * 2 ** (len(self.widths) - 1)
    if x.shape[1] % total or x.shape[2] % total:
      raise ValueError(
        f"PatchConvNet needs image sides that are multiples of {total} = patch * 2^(stages - 1), "
        f"found shape {tuple(x.shape)}: change config.data.resolution, patch or the stages."
      )
    stages = zip(self.widths, self.depths, self.overlaps, strict=True)
    for stage, (width, depth, overlap) in enumerate(stages):
      stride = self.patch if stage == 0 else 2
      embed = _PatchEmbed(width, dtype=self.dtype, stride=stride, overlap=overlap)
      x = nn.gelu(embed.copy(name=f"embed{stage}")(x))
      for block in range(depth):
        name = f"block{stage}_{block}"
        x = x + _PointwiseMLP(self.expansion * width, dtype=self.dtype, name=name)(x)
    return nn.LayerNorm(dtype=self.dtype, name="norm")(x)


class _Dense(nn.Dense):
  """`nn.Dense` of one matrix: XLA's CPU backend takes longer for the gradient of batched rows."""

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    return super().__call__(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.features)


class _PatchEmbed(nn.Module):
  """W patches(x) + b, of patches of side `stride`, or 2 * stride where they overlap.

  A patch that overlaps others is four neighbouring cells of `space_to_depth`: it has W = [W_1; ..; W_4].
  """

  features: int
  stride: int
  overlap: bool
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    dense = _Dense(self.features, dtype=self.dtype)
    nn.share_scope(self, dense)
    if not self.overlap:
      return dense(space_to_depth(x, self.stride))
    margin = (self.stride // 2, self.stride - self.stride // 2)
    cells = space_to_depth(jnp.pad(x, ((0, 0), margin, margin, (0, 0))), self.stride)
    if 2 * self.features > cells.shape[-1] or self.is_initializing():
      return dense(_join_neighbours(cells))
    # Products at most half as wide as the patches: four of every cell, then shifted sums, write less
    # than the patches would take, for the operations of a border of cells.
    kernel, bias = (self.get_variable("params", name) for name in ("kernel", "bias"))
    x, kernel, bias = nn.dtypes.promote_dtype(cells, kernel, bias, dtype=self.dtype)
    parts = jnp.concatenate(jnp.split(kernel, 4), axis=1)
    products = (x.reshape(-1, x.shape[-1]) @ parts).reshape(*x.shape[:-1], -1)
    first, below, right, diagonal = jnp.split(products, 4, axis=-1)
    return first[:, :-1, :-1] + below[:, 1:, :-1] + right[:, :-1, 1:] + diagonal[:, 1:, 1:] + bias


class _PointwiseMLP(nn.Module):
  """Dense(GELU(Dense(LN x))) of every cell of a map, back to the input's width."""

  hidden: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    y = nn.LayerNorm(dtype=self.dtype, name="norm")(x)
    y = nn.gelu(_Dense(self.hidden, dtype=self.dtype, name="layer1")(y))
    return _Dense(x.shape[-1], dtype=self.dtype, name="layer2")(y)


def _join_neighbours(cells: jax.Array) -> jax.Array:
  """Each cell with those below, to the right and diagonally: [.., r, c, n] to [.., r - 1, c - 1, 4 n]."""
  pairs = jnp.concatenate([cells[:, :-1], cells[:, 1:]], axis=-1)
  return jnp.concatenate([pairs[:, :, :-1], pairs[:, :, 1:]], axis=-1)
