"""Adapters: from the output of an encoder to tokens [batch, length, width] for the fusion.

Spec: docs/spec/infmasking.md 2. No adapter adds a code of the modality; only `PatchAdapter` knows
positions.
"""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from synjax.models.layers import Dense, check_layout, space_to_depth

CUBIC_COEFFICIENT = -0.75  # PyTorch's bicubic kernel; jax.image.resize has -0.5


class PatchAdapter(nn.Module):
  """Tokens of a feature map: a linear map of each patch plus its position code.

  token(a, b) = W patch(a, b) + bias + P(a, b), tokens in the order rows, then columns. The
  projection is the convolution with kernel = stride = patch, as a matrix product; W is stored as
  `proj/kernel` [patch * patch * channels, width] in (row, column, channel) order.

  P is the fixed table of `sincos_table_2d` (not a parameter), or with `positions="learned"` the
  parameter `position_table` [rows, columns, width], normal with standard deviation 0.02. A map
  with another number of patches than `table_size` gets P by bicubic interpolation.

  Differences from the published code: its stride level is not an attribute (patch here = published
  patch size / stride level); on non-square maps its fixed table, made for square ones, permutes
  the codes of the positions, here a code always belongs to its own row and column.

  Attributes:
    width: token width.
    patch: side of a patch, in cells of the map.
    table_size: (rows, columns) of the table, in patches; None: those of the map.
    positions: "sincos" or "learned".
    dtype: computation type.
  """

  width: int
  patch: int = 1
  table_size: tuple[int, int] | None = None
  positions: Literal["sincos", "learned"] = "sincos"
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Makes tokens of a feature map.

    Args:
      x: [batch, rows, columns, channels].

    Returns:
      [batch, (rows / patch) * (columns / patch), width].

    Raises:
      ValueError: if x is not such a map, if its sides are not multiples of `patch`, if `positions`
        is unknown, or if `width` is not a multiple of 4 with "sincos".
    """
    check_layout(x, "[batch, rows, columns, channels]", "PatchAdapter")
    patches = space_to_depth(x, self.patch)
    batch, rows, columns, _ = patches.shape
    tokens = Dense(self.width, dtype=self.dtype, name="proj")(patches)

    table_size = self.table_size or (rows, columns)
    if self.positions == "sincos":
      table = jnp.asarray(sincos_table_2d(*table_size, self.width))
    elif self.positions == "learned":
      shape = (*table_size, self.width)
      # The published bounds, +-2, are 100 standard deviations away: not a truncation.
      table = self.param("position_table", nn.initializers.normal(0.02), shape, jnp.float32)
    else:
      raise ValueError(
        f"PatchAdapter.positions must be 'sincos' or 'learned', found {self.positions!r}."
      )
    tokens = tokens + resize_bicubic(table, rows, columns).astype(tokens.dtype)
    return tokens.reshape(batch, rows * columns, self.width)


class FeatureAdapter(nn.Module):
  """One token per scalar feature: token_f = x_f * W_f + b_f.

  W is the parameter `kernel` and b the parameter `bias`, both [features, width] and drawn from
  N(0, 1) (published rule; b has two axes and is still exempt from weight decay, by its name).

  Attributes:
    width: token width.
    dtype: computation type.
  """

  width: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, features] to [batch, features, width]; ValueError on other ranks."""
    check_layout(x, "[batch, features]", "FeatureAdapter")
    shape = (x.shape[-1], self.width)
    kernel = self.param("kernel", nn.initializers.normal(1.0), shape, jnp.float32)
    bias = self.param("bias", nn.initializers.normal(1.0), shape, jnp.float32)
    x, kernel, bias = nn.dtypes.promote_dtype(x, kernel, bias, dtype=self.dtype)
    return x[..., None] * kernel + bias


class TokenAdapter(nn.Module):
  """One token per example: the embedding itself, without parameters.

  Attributes:
    dtype: type of the tokens; None keeps that of the input.
  """

  dtype: Any = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, width] to [batch, 1, width]; ValueError on other ranks."""
    check_layout(x, "[batch, width]", "TokenAdapter")
    return x[:, None, :].astype(self.dtype or x.dtype)


class SequenceAdapter(nn.Module):
  """A sequence is already made of tokens: the identity, without parameters.

  Attributes:
    dtype: type of the tokens; None keeps that of the input.
  """

  dtype: Any = None

  def __call__(self, x: jax.Array) -> jax.Array:
    """Returns [batch, length, width] as it is; ValueError on other ranks."""
    check_layout(x, "[batch, length, width]", "SequenceAdapter")
    return x.astype(self.dtype or x.dtype)


class ProjectionAdapter(nn.Module):
  """A linear map of every step: t_i = W x_i + b, for sequences of another width than the fusion's.

  Attributes:
    width: token width.
    dtype: computation type.
  """

  width: int
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, length, features] to [batch, length, width]; ValueError on other ranks."""
    check_layout(x, "[batch, length, features]", "ProjectionAdapter")
    return Dense(self.width, dtype=self.dtype, name="proj")(x)


# Names in `config.model.modalities.<modality>.adapter.name`.
ADAPTERS = {
  "feature": FeatureAdapter,
  "patch": PatchAdapter,
  "projection": ProjectionAdapter,
  "sequence": SequenceAdapter,
  "token": TokenAdapter,
}


def sincos_table_1d(length: int, width: int) -> np.ndarray:
  """Returns the position codes of a sequence (Vaswani et al. 2017, section 3.5).

  Entries 2k and 2k+1 of row t are sin(t w_k) and cos(t w_k), w_k = 10000^(-2k / width).

  Args:
    length: number of positions.
    width: code width, a multiple of 2.

  Returns:
    float32[length, width].

  Raises:
    ValueError: if `width` is not a multiple of 2.
  """
  angles = _position_angles(length, width, waves=width // 2, multiple=2)
  table = np.stack([np.sin(angles), np.cos(angles)], axis=-1)
  return table.reshape(length, width).astype(np.float32)


def sincos_table_2d(rows: int, columns: int, width: int) -> np.ndarray:
  """Returns the position codes of a map (docs/spec/infmasking.md 2).

  P(a, b) = [sin(a w), cos(a w), sin(b w), cos(b w)] for row a and column b: four blocks of
  q = width / 4 entries, w_k = 10000^(-k / q).

  Args:
    rows: rows of the map.
    columns: columns of the map.
    width: code width, a multiple of 4.

  Returns:
    float32[rows, columns, width].

  Raises:
    ValueError: if `width` is not a multiple of 4.
  """
  row = _position_angles(rows, width, waves=width // 4, multiple=4)[:, None]
  column = _position_angles(columns, width, waves=width // 4, multiple=4)[None, :]
  blocks = (np.sin(row), np.cos(row), np.sin(column), np.cos(column))
  shape = (rows, columns, width // 4)
  blocks = [np.broadcast_to(block, shape) for block in blocks]
  return np.concatenate(blocks, axis=-1).astype(np.float32)


def _position_angles(length: int, width: int, *, waves: int, multiple: int) -> np.ndarray:
  """Angles [length, waves] of geometrically falling frequency; float64."""
  if width % multiple:
    raise ValueError(
      f"A sine-cosine position code needs a width that is a multiple of {multiple}, found {width}: "
      "change the token width, or use learned positions."
    )
  return np.outer(np.arange(length), 10000.0 ** (-np.arange(waves) / waves))


def resize_bicubic(table: jax.Array, rows: int, columns: int) -> jax.Array:
  """Resizes a table of codes by bicubic interpolation with a = -0.75.

  Cell centres are aligned (not corners), cells beyond the border repeat the border, and shrinking
  does not smooth: `torch.nn.functional.interpolate`. Exactly the identity for an equal size.

  Args:
    table: [old rows, old columns, width].
    rows: new number of rows.
    columns: new number of columns.

  Returns:
    [rows, columns, width].
  """
  down = jnp.asarray(_cubic_matrix(table.shape[0], rows), table.dtype)
  across = jnp.asarray(_cubic_matrix(table.shape[1], columns), table.dtype)
  return jnp.einsum("ra,abw,cb->rcw", down, table, across, precision=jax.lax.Precision.HIGHEST)


def _cubic_matrix(old: int, new: int) -> np.ndarray:
  """Weights [new, old] of one-dimensional cubic interpolation; float64."""
  centre = (np.arange(new) + 0.5) * old / new - 0.5
  first = np.floor(centre).astype(int) - 1
  matrix = np.zeros((new, old))
  for tap in range(4):
    weight = _cubic_kernel(np.abs(centre - (first + tap)))
    # Several taps can fall on the same border cell, so they are added, not assigned.
    np.add.at(matrix, (np.arange(new), np.clip(first + tap, 0, old - 1)), weight)
  return matrix


def _cubic_kernel(distance: np.ndarray) -> np.ndarray:
  """Keys' cubic convolution kernel at distances in [0, 2]."""
  a, t = CUBIC_COEFFICIENT, distance
  near = (a + 2) * t**3 - (a + 3) * t**2 + 1
  far = a * (t**3 - 5 * t**2 + 8 * t - 4)
  return np.where(t <= 1, near, far)
