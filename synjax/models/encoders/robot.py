"""Encoders of Vision&Touch's force and proprioception readings."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.layers import Dense, check_layout

_SLOPE = 0.1  # of the leaky ReLUs, for negative inputs
_FORCE_STEPS = 32  # five halvings leave one step
_FORCE_WIDTHS = (16, 32, 64, 128)
_PROPRIOCEPTION_WIDTHS = (32, 64, 128)


class ForceEncoder(nn.Module):
  """Five strided causal convolutions over a window of 32 readings (docs/spec/infmasking.md 1.4).

  y_i = LeakyReLU(W [x_2i, x_2i+1] + b) halves the length five times, from 32 steps to one. Each
  output sees nothing later than itself, the last one the whole window. The convolutions have
  kernel = stride = 2, so they are products of pairs of steps with `kernel` [2 * in, out], in
  (step, feature) order.

  Difference from the published code: there a layer also pads one zero on the left, and its output
  i sees the steps 2i - 1 and 2i. Behind five such layers the result depends on the OLDEST of the
  32 readings only; `window="first_step"` keeps that.

  Attributes:
    features: output width.
    window: "whole" or "first_step" (published).
    dtype: computation type.
  """

  features: int
  window: Literal["whole", "first_step"] = "whole"
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
    """Encodes windows of force readings.

    Args:
      x: [batch, 32, readings], oldest step first.
      valid: bool[batch, length], False = padding, read as 0; None = the window is full.
      train: not used.
      axis: not used.

    Returns:
      [batch, features].

    Raises:
      ValueError: if x has not this shape or `window` is unknown.
    """
    del train, axis
    check_layout(x, "[batch, length, features]", "ForceEncoder")
    if x.shape[1] != _FORCE_STEPS:
      raise ValueError(
        f"ForceEncoder needs windows of {_FORCE_STEPS} steps, found shape {tuple(x.shape)}: cut or "
        "resample the readings, or use GRU."
      )
    if self.window not in ("whole", "first_step"):
      raise ValueError(
        f"ForceEncoder.window must be 'whole' or 'first_step', found {self.window!r}."
      )
    if valid is not None:
      x = jnp.where(valid[..., None], x, 0)
    for i, width in enumerate((*_FORCE_WIDTHS, self.features), start=1):
      if self.window == "first_step":
        x = jnp.pad(x[:, :-1], ((0, 0), (1, 0), (0, 0)))
      pairs = x.reshape(x.shape[0], x.shape[1] // 2, -1)
      layer = Dense(width, dtype=self.dtype, name=f"layer{i}")
      x = nn.leaky_relu(layer(pairs), _SLOPE)
    return x[:, 0]


class ProprioceptionEncoder(nn.Module):
  """Dense layers of width 32, 64, 128 and `features`, a leaky ReLU (0.1) after each, the last too.

  The encoder of Vision&Touch's 8 numbers of pose and speed (docs/spec/infmasking.md 1.4), PyTorch's
  initialisation.

  Attributes:
    features: output width.
    dtype: computation type.
  """

  features: int
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
    """Maps [batch, in] to [batch, features]; ValueError on other ranks."""
    del valid, train, axis
    check_layout(x, "[batch, features]", "ProprioceptionEncoder")
    for i, width in enumerate((*_PROPRIOCEPTION_WIDTHS, self.features), start=1):
      x = nn.leaky_relu(Dense(width, dtype=self.dtype, name=f"layer{i}")(x), _SLOPE)
    return x
