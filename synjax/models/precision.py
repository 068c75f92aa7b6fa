"""Which numbers are computed in which precision: networks as `config.dtype` says, losses wider."""

from typing import Any

import jax
import jax.numpy as jnp


def compute_dtype(dtype: str) -> Any:
  """Returns linen's computation type: None (as the inputs) or bfloat16; ValueError on other names."""
  if dtype not in ("float32", "bfloat16"):
    raise ValueError(f"config.dtype: expected float32 or bfloat16, found {dtype!r}")
  return jnp.bfloat16 if dtype == "bfloat16" else None


def at_least_float32(x: jax.Array) -> jax.Array:
  """Widens bfloat16 before losses and probes; float64 stays."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))
