"""A module's methods as one program each: called as they are, every operation is compiled for itself."""

import functools
from typing import Any

import jax
from flax import linen as nn


def init(module: nn.Module, key: jax.Array, *inputs: Any, **settings: Any) -> Any:
  """Returns `module.init(key, *inputs, **settings)`; settings are constants of the program."""
  return jax.jit(functools.partial(module.init, **settings))(key, *inputs)


def apply(module: nn.Module, variables: Any, *inputs: Any, **settings: Any) -> Any:
  """Returns `module.apply(variables, *inputs, **settings)`; settings are constants of the program."""
  return jax.jit(functools.partial(module.apply, **settings))(variables, *inputs)
