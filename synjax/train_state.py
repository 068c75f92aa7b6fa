"""The state of training: everything a step changes, with a leading axis of seeds."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from synjax import parallel


@flax.struct.dataclass
class TrainState:
  """What a step reads and writes; under `create_train_state` every leaf is [seeds, ...].

  Attributes:
    step: int32, steps done.
    params: trained parameters.
    model_state: running statistics (flax collections other than "params").
    opt_state: state of the optimizer.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any


def create_train_state(method, optimizer: optax.GradientTransformation, seeds, batch) -> TrainState:
  """Initialises one state a seed, as one compiled program.

  Args:
    method: a `Method`.
    optimizer: the transformation of `optim.create_optimizer`.
    seeds: int[num_seeds]; seed s gives the state of a single run with seed s.
    batch: a `Batch` of one of the method's views, for shapes only.

  Returns:
    TrainState with leaves [num_seeds, ...].
  """

  def create(seed):
    params, model_state = method.init(parallel.stream_key(jax.random.key(seed), "init"), batch)
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, optimizer.init(params))

  return jax.jit(jax.vmap(create))(jnp.asarray(seeds, jnp.uint32))
