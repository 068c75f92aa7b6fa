"""The state of training: everything a step changes, with a leading axis of trials."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from synjax import checkpoint, parallel
from synjax.trial import Trial

# Parameters of one modality, by name: what a run may take over from another.
ENCODER_PARTS = ("encoders", "adapters", "unimodal_heads")


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


def initialize_encoders(state: TrainState, workdir: str, seeds, modalities) -> TrainState:
  """Replaces encoders, adapters and unimodal heads by those that another run selected.

  Args:
    state: host arrays [trials, ...] as created.
    workdir: of a run of `ensemble` or `unimodal` with the same encoders.
    seeds: [trials]; each trial takes the parameters of its own seed.
    modalities: names; those the run did not train keep their initialisation.

  Returns:
    The new state. The optimizer starts afresh.

  Raises:
    ValueError: no such run, a seed that it does not have, or parameters of other shapes.
  """
  field = "config.initialize_from"
  config, params, model_state = checkpoint.read_selected(workdir, field)
  points = config.get("trials") or [
    {"seed": config["seed"] + i} for i in range(config["num_seeds"])
  ]
  known = [point.get("seed", config["seed"]) for point in points]
  missing = sorted(set(map(int, seeds)) - set(known))
  if missing:
    raise ValueError(f"{field}: {workdir} has seeds {known}, but not {missing}")
  rows = np.array([known.index(int(seed)) for seed in seeds])

  def replace(own, other):
    taken = dict(own)
    for modality in modalities:
      for name in [f"{part}_{modality}" for part in ENCODER_PARTS]:
        if name in own and name in other:
          taken[name] = jax.tree.map(lambda x: np.asarray(x)[rows], other[name])
          shapes = [jax.tree.map(np.shape, tree[name]) for tree in (own, taken)]
          if shapes[0] != shapes[1]:
            raise ValueError(
              f"{field}: {name} of {workdir} has shapes {shapes[1]}, not {shapes[0]}"
            )
    return taken

  collections = {
    name: replace(own, model_state.get(name, {})) if isinstance(own, dict) else own
    for name, own in state.model_state.items()
  }
  return state.replace(params=replace(state.params, params), model_state=collections)
