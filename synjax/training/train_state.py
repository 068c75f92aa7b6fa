"""The state of training: everything a step changes, with a leading axis of trials."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp

from synjax import parallel
from synjax.trial import Trial


@flax.struct.dataclass
class TrainState:
  """What a step reads and writes; under `create_train_state` every leaf is [trials, ...].

  Attributes:
    step: int32, steps done.
    params: trained parameters.
    model_state: running statistics (flax collections other than "params").
    opt_state: states of the optimizer, one a phase of the method, and of its gradient transformation.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any


def create_train_state(method, create_optimizer, trials: Trial, batch) -> TrainState:
  """Initialises one state a trial, as one compiled program.

  Args:
    method: a `Method`.
    create_optimizer: traced hyper-parameters -> optax transformation.
    trials: leaves [trials]; a trial gives the state of a single run with its seed.
    batch: a `Batch` of one of the method's views, for shapes only.

  Returns:
    TrainState with leaves [trials, ...].
  """

  def create(trial):
    params, model_state = method.init(
      parallel.stream_key(jax.random.key(trial.seed), "init"), batch
    )
    optimizer = create_optimizer(trial.hyper)
    opt_state = {
      "transform": method.transform().init(params),
      **{phase.name: phase.restrict(optimizer).init(params) for phase in method.phases},
    }
    return TrainState(jnp.zeros((), jnp.int32), params, model_state, opt_state)

  program = jax.jit(jax.vmap(create), compiler_options=_quick_options())
  return program(jax.tree.map(jnp.asarray, trials))


def _quick_options() -> dict[str, Any] | None:
  """Returns options for a program that runs once: optimising its many random draws takes far longer."""
  if jax.default_backend() != "cpu":
    return None
  return {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
