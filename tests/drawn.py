"""Parameters drawn by NumPy: compiling an initialisation takes as long as compiling a step."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def variables(init: Callable[..., Any], *inputs: Any, **settings: Any) -> Any:
  """Returns what `init(key, *inputs, **settings)` does, with other values.

  Weights have variance 1 over the number of inputs, biases are near 0; scales, variances and numbers 1.
  """
  shapes = jax.eval_shape(functools.partial(init, **settings), jax.random.key(0), *inputs)
  return jax.tree_util.tree_map_with_path(
    functools.partial(_draw, np.random.default_rng(0)), shapes
  )


def _draw(rng: np.random.Generator, path: tuple, leaf: jax.ShapeDtypeStruct) -> jax.Array:
  name = getattr(path[-1], "key", "")
  if not jnp.issubdtype(leaf.dtype, jnp.floating) or name == "mean":
    return jnp.asarray(np.zeros(leaf.shape), leaf.dtype)
  if leaf.ndim == 0 or name in ("scale", "var"):
    return jnp.asarray(np.ones(leaf.shape), leaf.dtype)
  deviation = 0.1 if leaf.ndim == 1 else 1 / math.sqrt(math.prod(leaf.shape[:-1]))
  return jnp.asarray(rng.normal(0, deviation, leaf.shape), leaf.dtype)
