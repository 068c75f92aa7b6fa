"""The state of training: everything a step changes, with a leading axis of trials."""

import functools
from collections.abc import Callable, Collection, Mapping
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import optax

from synjax import parallel
from synjax.data.pipeline import Batch, Dataset, make_views
from synjax.methods.base import Info, Method, Phase, named_leaves
from synjax.training import frozen_params, lr_scales
from synjax.trial import Trial


@flax.struct.dataclass
class TrainState:
  """What a step reads and writes; under `create_train_state` every leaf is [trials, ...].

  Attributes:
    step: int32, steps done.
    params: trained parameters, see `whole`.
    model_state: running statistics (flax collections other than "params").
    opt_state: states of the optimizer, one a phase of the method, and of its gradient transformation.
      For methods that ask for them also "initial", see the property.
    frozen: parameters that are not trained; {} where all are, and where a run keeps them apart, see
      `frozen_params`: it is no part of what a checkpoint holds as the state.
  """

  step: jax.Array
  params: Any
  model_state: Any
  opt_state: Any
  frozen: Mapping[str, Any] = flax.struct.field(default_factory=dict)

  def whole(self, params: Any) -> Any:
    """Returns what a model is applied with: trained parameters, and the frozen ones."""
    return frozen_params.join(params, self.frozen) if self.frozen else params

  def with_whole(self, params: Any) -> "TrainState":
    """Returns this state with other values of all parameters, trained and frozen."""
    if not self.frozen:
      return self.replace(params=params)
    trained, frozen = frozen_params.separate(params, self.frozen)
    return self.replace(params=trained, frozen=frozen)

  def saved(self) -> dict[str, Any]:
    """Returns what a checkpoint holds of it: all fields but `frozen`."""
    fields = ("step", "params", "model_state", "opt_state")
    return {name: getattr(self, name) for name in fields}

  @property
  def initial(self) -> Mapping[str, jax.Array]:
    """Returns path -> parameter as it was when training started, of those the method keeps."""
    return self.opt_state.get("initial", {})


def example_batch(dataset: Dataset, trials: Trial) -> Batch:
  """Returns a batch of two examples, for shapes.

  Args:
    dataset: of a run.
    trials: host arrays [trials].
  """
  split = dataset.train
  if split.generate is not None:
    made = jax.jit(split.generate)(jax.tree.map(lambda x: jnp.asarray(x[0]), trials))
    raw = split.gather({**split.arrays, **made}, jnp.arange(2))
  else:
    raw = split.read(np.arange(2))
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(2))
  return make_views(raw, dataset.transforms, ("clean",), keys, dataset.padding)["clean"]


def check_parts(
  method: Method, batch: Batch, frozen: Collection[str], scales: lr_scales.Scales
) -> None:
  """Raises ValueError where a run's parameters have no such parts; computes nothing.

  Args:
    method: a `Method`.
    batch: for shapes.
    frozen: see `create_train_state`.
    scales: see `lr_scales.check`.
  """
  if not (frozen or scales):
    return
  params, _ = jax.eval_shape(method.init, jax.random.key(0), batch)
  trained, apart = frozen_params.split(params, frozen)
  if apart:
    frozen_params.check_phases(trained, method.phases)
  lr_scales.check(scales, named_leaves(trained))


def create_train_state(
  method: Method,
  create_optimizer: Callable[..., optax.GradientTransformation],
  trials: Trial,
  batch: Batch,
  frozen: Collection[str] = (),
) -> TrainState:
  """Initialises one state a trial, as one compiled program.

  Args:
    method: a `Method`.
    create_optimizer: (traced hyper-parameters, step) -> optax transformation.
    trials: leaves [trials]; a trial gives the state of a single run with its seed.
    batch: a `Batch` of one of the method's views, for shapes only.
    frozen: paths of parameters that are not trained, see `frozen_params.split`.

  Returns:
    TrainState with leaves [trials, ...].

  Raises:
    ValueError: `frozen` names a parameter that there is not, or leaves nothing to train.
  """
  create = functools.partial(create_trial, method, create_optimizer, batch, frozen)
  program = jax.jit(jax.vmap(create), compiler_options=_quick_options())
  return program(jax.tree.map(jnp.asarray, trials))


def create_trial(
  method: Method,
  create_optimizer: Callable[..., optax.GradientTransformation],
  batch: Batch,
  frozen: Collection[str],
  trial: Trial,
) -> TrainState:
  """Initialises the state of one trial, see `create_train_state`; to be traced."""
  params, model_state = _initialize(method, trial, batch)
  params, apart = frozen_params.split(params, frozen)
  if apart:
    frozen_params.check_phases(params, method.phases)
  key, step = jax.random.key(trial.seed), jnp.zeros((), jnp.int32)
  info = Info(step, jnp.zeros(()), key, jnp.zeros(0, jnp.int32), hyper=trial.hyper)
  opt_state = {"transform": method.transform().init(params)}
  for phase in method.phases:
    opt_state[phase.name] = make_optimizer(phase, create_optimizer, info).init(params)
  return TrainState(jnp.zeros((), jnp.int32), params, model_state, opt_state, apart)


def initial_parameters(method: Method, trials: Trial, batch: Batch) -> tuple[Any, Any]:
  """Returns the (params, model_state) that `create_train_state` starts from, and no more of it."""
  program = jax.jit(
    jax.vmap(lambda trial: _initialize(method, trial, batch)), compiler_options=_quick_options()
  )
  return program(jax.tree.map(jnp.asarray, trials))


def _initialize(method: Method, trial: Trial, batch: Batch) -> tuple[Any, Any]:
  return method.init(parallel.stream_key(jax.random.key(trial.seed), "init"), batch)


def make_optimizer(
  phase: Phase,
  create_optimizer: Callable[..., optax.GradientTransformation],
  info: Info,
) -> optax.GradientTransformation:
  """Returns the optimizer of a phase's parameters at a step: its own, or the run's."""
  if phase.optimizer is not None:
    return phase.restrict(phase.optimizer(info))
  return phase.restrict(create_optimizer(info.hyper, info.step))


def keep_initial(method: Method, state: TrainState) -> TrainState:
  """Returns a state that holds its parameters, or those the method asks for, as `initial` too.

  Raises:
    ValueError: the method asks for some, and there are none by such a name.
  """
  if method.keeps_initial is None:
    return state
  named = named_leaves(state.params)
  kept = {name: leaf for name, leaf in named.items() if method.keeps_initial(name)}
  if not kept:
    raise ValueError(
      f"{type(method).__name__}.keeps_initial: expected to keep some of {sorted(named)}, found none"
    )
  return state.replace(opt_state={**state.opt_state, "initial": kept})


def _quick_options() -> dict[str, Any] | None:
  """Returns options for a program that runs once: optimising its many random draws takes far longer."""
  if jax.default_backend() != "cpu":
    return None
  return {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
