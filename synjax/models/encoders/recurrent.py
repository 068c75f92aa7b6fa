"""Recurrent encoders of sequences."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.layers import check_layout, uniform_fan_in


class GRU(nn.Module):
  """One-layer gated recurrent unit with PyTorch's equations (docs/spec/infmasking.md 1.3).

  r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r (W_hn h +
  b_hn)), h' = (1 - z) n + z h, starting from h = 0. linen's cell has no b_hr, b_hz.

  Parameters, gates in the order r, z, n along the last axis: `kernel_ih` [in, 3 * features],
  `kernel_hh` [features, 3 * features], `bias_ih`, `bias_hh` [3 * features], all from
  U(+-1/sqrt(features)). The state is kept in at least float32.

  Difference from the published code: padding given by `valid` leaves the state as it is. Without
  `valid`, as published, padding is read like data.

  Attributes:
    features: width of the state.
    return_sequence: return every state (as MIMIC does) instead of the last one.
    dtype: computation type of the matrix products and of the output.
  """

  features: int
  return_sequence: bool = True
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
    """Encodes sequences.

    Args:
      x: [batch, length, in].
      valid: bool[batch, length], False = padding; None = all real.
      train: not used.
      axis: not used.

    Returns:
      [batch, length, features], or without `return_sequence` the state after the last valid step,
      [batch, features].

    Raises:
      ValueError: if x has not three axes.
    """
    del train, axis
    check_layout(x, "[batch, length, features]", "GRU")
    width = 3 * self.features
    init = uniform_fan_in(self.features)
    kernel_ih = self.param("kernel_ih", init, (x.shape[-1], width), jnp.float32)
    kernel_hh = self.param("kernel_hh", init, (self.features, width), jnp.float32)
    bias_ih = self.param("bias_ih", init, (width,), jnp.float32)
    bias_hh = self.param("bias_hh", init, (width,), jnp.float32)
    x, kernel_ih, kernel_hh, bias_ih, bias_hh = nn.dtypes.promote_dtype(
      x, kernel_ih, kernel_hh, bias_ih, bias_hh, dtype=self.dtype
    )
    state_dtype = jnp.promote_types(x.dtype, jnp.float32)

    def step(state, inputs):
      from_input, is_valid = inputs
      from_state = state.astype(x.dtype) @ kernel_hh + bias_hh
      from_input, from_state = from_input.astype(state_dtype), from_state.astype(state_dtype)
      input_r, input_z, input_n = jnp.split(from_input, 3, axis=-1)
      state_r, state_z, state_n = jnp.split(from_state, 3, axis=-1)
      reset = nn.sigmoid(input_r + state_r)
      update = nn.sigmoid(input_z + state_z)
      candidate = jnp.tanh(input_n + reset * state_n)
      new = (1 - update) * candidate + update * state
      if is_valid is not None:
        new = jnp.where(is_valid[:, None], new, state)
      return new, new.astype(x.dtype) if self.return_sequence else None

    # One product for all time steps; only the recurrent one has to wait for its turn.
    projected = (x @ kernel_ih + bias_ih).swapaxes(0, 1)
    start = jnp.zeros((x.shape[0], self.features), state_dtype)
    steps = (projected, None if valid is None else valid.swapaxes(0, 1))
    last, states = jax.lax.scan(step, start, steps)
    return states.swapaxes(0, 1) if self.return_sequence else last.astype(x.dtype)
