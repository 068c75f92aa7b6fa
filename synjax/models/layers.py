"""Layers that linen lacks: PyTorch's default initialisation and its BatchNorm, call by call.

Encoders, adapters and heads are built from these. Everywhere in `synjax.models`, `dtype` is the
computation type as in linen: None promotes the inputs with the float32 parameters.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

BATCH_NORM_MOMENTUM = 0.1  # weight of the newest batch in the running statistics
BATCH_NORM_EPSILON = 1e-5


def check_layout(x: jax.Array, layout: str, where: str) -> None:
  """Checks that an array has as many axes as its documented layout.

  Args:
    x: any array.
    layout: axis names such as "[batch, length, features]".
    where: who asks, for the message.

  Raises:
    ValueError: if the number of axes differs.
  """
  if x.ndim != layout.count(",") + 1:
    raise ValueError(
      f"{where} expects an input {layout}, found shape {tuple(x.shape)}: reshape the input, or "
      "choose the module made for this layout."
    )


def keep_bits(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
  """Draws bool[shape], False with probability `rate`: which entries dropout keeps.

  h = mix(mix(i ^ k_0) ^ k_1) of the flat index i and the key's two words, kept where
  h >= rate 2^32; mix is the 32-bit finaliser x ^= x >> 16, x *= 0x7feb352d, x ^= x >> 15,
  x *= 0x846ca68b, x ^= x >> 16 (C. Wellons, lowbias32).

  A MultiBench encoder draws 150 million of these a step. This takes a few integer operations an entry,
  which XLA fuses into their use, where threefry takes about a hundred: half of an encoder's time on a
  CPU. Good enough for dropout and for nothing that needs independent draws in earnest.

  Args:
    key: a typed key; its words come from threefry, so layers, steps and trials differ.
    rate: in [0, 1).
    shape: of the result, below 2^32 entries.
  """
  words = jax.random.key_data(key).reshape(-1)
  index, stride = jnp.zeros(shape, jnp.uint32), 1
  for axis in reversed(range(len(shape))):
    index += jax.lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride)
    stride *= shape[axis]
  for word in words[:2]:
    index ^= word
    index ^= index >> 16
    index *= jnp.uint32(0x7FEB352D)
    index ^= index >> 15
    index *= jnp.uint32(0x846CA68B)
    index ^= index >> 16
  return index >= jnp.uint32(round(rate * 2**32))


class Dropout(nn.Module):
  """Sets entries to 0 with probability `rate` in training and divides the rest by 1 - rate.

  As `nn.Dropout`, with the draws of `keep_bits`; needs the stream "dropout" in training.

  Attributes:
    rate: in [0, 1).
  """

  rate: float

  def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
    """Drops entries of x, of any shape; ValueError for a rate outside [0, 1)."""
    if not 0 <= self.rate < 1:
      raise ValueError(f"Dropout.rate: expected a number in [0, 1), found {self.rate}.")
    if not train or not self.rate:
      return x
    keep = keep_bits(self.make_rng("dropout"), self.rate, x.shape)
    return jnp.where(keep, x / (1 - self.rate), 0)


def uniform_fan_in(fan_in: int) -> nn.initializers.Initializer:
  """Returns an initialiser drawing from U(-1/sqrt(fan_in), 1/sqrt(fan_in)).

  PyTorch's default for the weights AND the biases of linear, convolution and recurrent layers; for
  the latter `fan_in` is the hidden width. A bias shares the fan-in of its weight.
  """
  bound = fan_in**-0.5

  def initialize(key, shape, dtype=jnp.float32, out_sharding=None):
    del out_sharding  # linen passes it to some initialisers
    return jax.random.uniform(key, shape, dtype, minval=-bound, maxval=bound)

  return initialize


def space_to_depth(x: jax.Array, block: int) -> jax.Array:
  """Cuts a map into non-overlapping square patches, each flattened as (row, column, channel).

  A matrix product of the result with a kernel [block * block * channels, width] is the convolution
  with kernel = stride = block, without a convolution.

  Args:
    x: [batch, rows, columns, channels].
    block: side of a patch, in cells of the map.

  Returns:
    [batch, rows / block, columns / block, block * block * channels].

  Raises:
    ValueError: if rows or columns are not a multiple of `block`.
  """
  batch, rows, columns, channels = x.shape
  if rows % block or columns % block:
    raise ValueError(
      f"A map of {rows} x {columns} cells cannot be cut into patches of side {block}: both sizes "
      "must be multiples of it; resize the image or change the patch size."
    )
  x = x.reshape(batch, rows // block, block, columns // block, block, channels)
  return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, rows // block, columns // block, -1)


class Dense(nn.Module):
  """Linear layer y = x W + b over the last axis, with W and b from U(+-1/sqrt(fan_in)).

  `linen.Dense` under PyTorch's default initialisation; parameters `kernel` [in, features] and
  `bias` [features].

  Attributes:
    features: output width.
    use_bias: whether b exists.
    dtype: computation type.
  """

  features: int
  use_bias: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., in] to [..., features]."""
    init = uniform_fan_in(x.shape[-1])
    layer = nn.Dense(
      self.features, self.use_bias, dtype=self.dtype, kernel_init=init, bias_init=init
    )
    nn.share_scope(self, layer)
    # As one matrix: XLA's CPU backend takes up to three times as long for the gradient of batched rows.
    return layer(x.reshape(-1, x.shape[-1])).reshape(*x.shape[:-1], self.features)


def relu_layers(
  x: jax.Array, widths: Sequence[int], dropout: float, *, dtype: Any, train: bool
) -> jax.Array:
  """Applies x <- ReLU(W x + b) for each width, as `layer1`, `layer2`, ... of the module that calls.

  Args:
    x: [batch, in].
    widths: of the layers.
    dropout: rate after every ReLU but the last; of a single layer after that one.
    dtype: computation type.
    train: dropout is on.

  Returns:
    [batch, widths[-1]].

  Raises:
    ValueError: no layer that the dropout could follow.
  """
  if dropout and not widths:
    raise ValueError(f"dropout: expected 0 where there are no layers, found {dropout}")
  for i, width in enumerate(widths, start=1):
    x = nn.relu(Dense(width, dtype=dtype, name=f"layer{i}")(x))
    if i < len(widths) or i == 1:
      x = Dropout(dropout)(x, train=train)
  return x


class Conv(nn.Module):
  """2-D convolution over NHWC maps, with W and b from U(+-1/sqrt(fan_in)).

  `linen.Conv` under PyTorch's default initialisation, fan_in = kernel area * input channels;
  parameters `kernel` [rows, columns, in, features] and `bias` [features].

  Attributes:
    features: output channels.
    kernel_size: side of the square kernel.
    stride: step in both directions.
    padding: zeros added on each of the four sides.
    dtype: computation type.
  """

  features: int
  kernel_size: int
  stride: int = 1
  padding: int = 0
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, rows, columns, in] to [batch, rows', columns', features]."""
    init = uniform_fan_in(self.kernel_size**2 * x.shape[-1])
    layer = nn.Conv(
      self.features,
      (self.kernel_size, self.kernel_size),
      strides=self.stride,
      padding=self.padding,
      dtype=self.dtype,
      kernel_init=init,
      bias_init=init,
    )
    nn.share_scope(self, layer)
    return layer(x)


class BatchNorm(nn.Module):
  """Batch normalisation in which every leading axis is a separate call of the layer.

  y = scale * (x - mean) / sqrt(var + 1e-5) + bias. In training, mean and biased variance are those
  of each call's own batch; the running statistics become (1 - m) * old + m * new with m = 0.1 and
  the UNBIASED variance, as if the calls came one after the other:
  r_C = (1 - m)^C r_0 + sum_c m (1 - m)^(C-1-c) s_c. Evaluation uses the running statistics.
  PyTorch's semantics; linen's layer keeps the biased variance and knows one call only.

  With `valid`, statistics are over the valid examples alone; a call with fewer than two of them leaves
  the running statistics as they are. The outputs of others are finite and without meaning.

  Statistics are computed in at least float32, in two passes (mean, then squared deviations).
  Parameters `scale`, `bias`; collection `batch_stats` with `mean`, `var`, left alone by `init`.

  Attributes:
    dtype: computation type of the output.
  """

  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, *, train: bool, axis: str | None = None, valid: jax.Array | None = None
  ) -> jax.Array:
    """Normalises each call of the layer.

    Args:
      x: [..., batch, features]; leading axes are calls, in row-major order. Maps are to be
        reshaped to [batch * rows * columns, features].
      train: batch statistics (and an update of the running ones) instead of running statistics.
      axis: name of a device axis that shares out the batch: the statistics are then those of the
        global batch; None for one device or a global view.
      valid: bool[..., batch], False = left out of the statistics of its call (filler, or an example that
        lacks the modality); None: every example counts.

    Returns:
      Array of the shape of x.

    Raises:
      ValueError: if x has no batch axis, or in training if the global batch has one example.
    """
    features = x.shape[-1]
    scale = self.param("scale", nn.initializers.ones, (features,), jnp.float32)
    bias = self.param("bias", nn.initializers.zeros, (features,), jnp.float32)
    running_mean = self.variable("batch_stats", "mean", jnp.zeros, (features,), jnp.float32)
    running_var = self.variable("batch_stats", "var", jnp.ones, (features,), jnp.float32)

    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    if train:
      mean, var, batch = _batch_moments(wide, axis, valid)
      if not self.is_initializing():
        counts = None if valid is None else batch > 1
        unbiased = var * (batch / (batch - 1 if valid is None else jnp.maximum(batch - 1, 1)))
        running_mean.value = _update_running(running_mean.value, mean, counts)
        running_var.value = _update_running(running_var.value, unbiased, counts)
    else:
      mean, var = running_mean.value, running_var.value
    y = (wide - mean) * (jax.lax.rsqrt(var + BATCH_NORM_EPSILON) * scale) + bias
    return y.astype(nn.dtypes.canonicalize_dtype(x, scale, bias, dtype=self.dtype))


def _batch_moments(
  x: jax.Array, axis: str | None, valid: jax.Array | None
) -> tuple[jax.Array, jax.Array, int | jax.Array]:
  """Mean and biased variance [..., 1, features] of each call, and the number of examples in them.

  That number is the global batch size, or with `valid` [..., 1, 1].
  """
  if x.ndim < 2:
    raise ValueError(
      f"BatchNorm expects an input [..., batch, features], found shape {tuple(x.shape)}: add the "
      "batch axis."
    )
  batch = x.shape[-2] * (1 if axis is None else jax.lax.axis_size(axis))
  if batch < 2:
    raise ValueError(
      "BatchNorm needs at least 2 examples per training call for a variance, found an input of "
      f"shape {tuple(x.shape)}: enlarge the batch, drop the partial batch, or pass train=False."
    )

  def total(values):
    local = jnp.sum(values, axis=-2, keepdims=True)
    return local if axis is None else jax.lax.psum(local, axis)

  def average(values):
    if valid is not None:
      return total(jnp.where(real, values, 0)) / jnp.maximum(batch, 1)
    local = jnp.mean(values, axis=-2, keepdims=True)
    return local if axis is None else jax.lax.pmean(local, axis)

  if valid is not None:
    real = valid[..., None]
    batch = total(real.astype(x.dtype))
  mean = average(x)
  return mean, average(jnp.square(x - mean)), batch


def _update_running(running: jax.Array, new: jax.Array, counts: jax.Array | None) -> jax.Array:
  """Exponential average after the calls of `new` [..., 1, features], first call first.

  Calls where `counts`, bool[..., 1, 1], is False are left out; None: all count.
  """
  new = new.reshape(-1, new.shape[-1])
  if counts is not None:
    for call, count in zip(new, counts.reshape(-1), strict=True):
      moved = (1 - BATCH_NORM_MOMENTUM) * running + BATCH_NORM_MOMENTUM * call
      running = jnp.where(count, moved, running).astype(running.dtype)
    return running
  ages = np.arange(len(new))[::-1, None]
  decay = 1 - BATCH_NORM_MOMENTUM
  # A sum of products, not a matrix product: those are rounded to fewer digits on accelerators.
  weights = jnp.asarray(BATCH_NORM_MOMENTUM * decay**ages, new.dtype)
  return (decay ** len(new) * running + jnp.sum(weights * new, axis=0)).astype(running.dtype)
