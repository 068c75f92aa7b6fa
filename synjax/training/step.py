"""The compiled part of the loop: one training step of any method, and many steps of many trials."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from synjax import parallel
from synjax.data import pipeline
from synjax.methods.base import Info, Method, Moment, Phase
from synjax.training import frozen_params
from synjax.training.optim import Durations
from synjax.training.train_state import TrainState, make_optimizer


def make_train_step(
  method: Method,
  create_optimizer: Callable[..., optax.GradientTransformation],
  dataset: pipeline.Dataset,
  durations: Durations,
  diagnose: Callable[..., dict[str, jax.Array]] | None = None,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Makes the step of one trial: views, loss, gradients, update, for each phase of the method.

  Args:
    method: the objective.
    create_optimizer: (traced hyper-parameters, step) -> optax transformation.
    dataset: the `Dataset`.
    durations: of the run, for what `Info` says of time.
    diagnose: None, or (state, views, info) -> further metrics, computed before the update.

  Returns:
    step(state, arrays, index int32[batch], trial, axis, length=None, shared_step=None) -> (state,
    metrics {name: scalar}); an index of -1 is a filler example, sequences are cut to `length` steps.
    The same function serves one device, sharded `jit` (axis None) and `pmap` (the device axis' name).
    `shared_step`, steps done, has no axis of trials: what is decided by it is decided for all of them.
  """

  def moment(step):
    return Moment(
      step=step,
      progress=durations.progress(step),
      epoch=step // durations.steps_per_epoch,
      epochs_done=step / durations.steps_per_epoch,
    )

  def train_step(state, arrays, index, trial, axis, length=None, shared_step=None):
    now = moment(state.step)
    info = Info(
      step=now.step,
      progress=now.progress,
      key=jax.random.fold_in(jax.random.key(trial.seed), state.step),
      index=parallel.positions(index.shape[0], axis),
      axis=axis,
      hyper=trial.hyper,
      epoch=now.epoch,
      epochs_done=now.epochs_done,
    )
    raw = pipeline.cut(dataset.train.gather(arrays, jnp.maximum(index, 0)), length)
    raw |= {"index": index, "valid": index >= 0}
    views = dataset.training_transforms
    batch = pipeline.make_views(raw, views, method.views, info.keys, dataset.padding)
    # Under vmap, a decision that each trial takes for itself would do both sides for all of them.
    step = state.step if shared_step is None else shared_step
    metrics = diagnose(state, batch, info) if diagnose else {}
    for phase in method.phases:
      optimizer = make_optimizer(phase, create_optimizer, info)
      update = functools.partial(_update_phase, method, phase, optimizer, batch, info)
      if phase.active is None:
        state, found = update(state)
      else:
        active = jnp.asarray(phase.active(moment(step)))
        if phase.fresh_opt:
          rested = active & (step > 0) & ~jnp.asarray(phase.active(moment(step - 1)))
          state = _with_fresh_optimizer(state, phase, optimizer, rested)
        _, shapes = jax.eval_shape(update, state)
        idle = jax.tree.map(lambda s: jnp.full(s.shape, jnp.nan, s.dtype), shapes)
        state, found = jax.lax.cond(active, update, lambda s, m=idle: (s, m), state)
        found |= {"active": active.astype(jnp.float32)}
      prefix = "" if len(method.phases) == 1 else f"{phase.name}/"
      metrics |= {f"{prefix}{name}": value for name, value in found.items()}
    state = state.replace(step=state.step + 1)
    return state.with_whole(method.post_step(state.whole(state.params))), metrics

  return train_step


def _with_fresh_optimizer(
  state: TrainState, phase: Phase, optimizer: optax.GradientTransformation, fresh: jax.Array
) -> TrainState:
  """Returns a state whose phase has the optimizer state of a first step, where `fresh`."""
  own = jax.lax.cond(
    fresh, lambda: optimizer.init(state.params), lambda: state.opt_state[phase.name]
  )
  return state.replace(opt_state={**state.opt_state, phase.name: own})


def _update_phase(
  method: Method, phase: Phase, optimizer, batch, info: Info, state: TrainState
) -> tuple[TrainState, dict[str, jax.Array]]:
  """Does one phase of a step: the gradients of its losses, the method's transform, the optimizer."""

  def objective(params):
    out = method.loss(state.whole(params), state.model_state, batch, info, phase.name)
    # The mean over devices is taken here and again of the gradients: of the obvious forms only this
    # one is right under jit, pmap and shard_map alike (docs/design.md 3).
    losses = list(out.losses.values())
    losses = tuple(losses) if method.per_loss else jnp.stack(losses)
    return parallel.mean_over_devices(losses, info.axis), out

  if method.per_loss:
    values, grads, out = _gradient_of_each(objective, state.params)
  else:
    values, pullback, out = jax.vjp(objective, state.params, has_aux=True)
    (grads,) = pullback(jnp.ones_like(values))
  total, grads = parallel.mean_over_devices((values.sum(), grads), info.axis)
  metrics = parallel.mean_over_devices(
    {"loss": total, **{f"loss/{name}": v for name, v in out.losses.items()}, **out.metrics},
    info.axis,
  )
  transform = optax.with_extra_args_support(method.transform())
  grads, transform_state = transform.update(
    grads,
    state.opt_state["transform"],
    state.params,
    signals=_mean_of_floats(out.signals, info.axis),
    info=info,
    key=parallel.stream_key(info.key, "transform"),
  )
  metrics["gradient_norm"] = optax.tree.norm(grads)
  updates, opt_state = optimizer.update(grads, state.opt_state[phase.name], state.params)
  new = state.replace(
    params=optax.apply_updates(state.params, updates),
    model_state=_mean_of_floats(out.model_state, info.axis),
    opt_state={**state.opt_state, "transform": transform_state, phase.name: opt_state},
  )
  return new, metrics


def _gradient_of_each(objective, params):
  """Returns the losses, the gradient of each of them, leaves [losses, ...], and what else there is.

  One forward pass. Each loss goes back through what it depends on alone: one batched pullback of all
  would take the loss of one modality through the encoders of the others and the fusion, as zeros. So
  would a stacked array of them: `objective` returns a tuple.
  """
  values, tangent, out = jax.linearize(objective, params, has_aux=True)
  parts = [
    jax.linear_transpose(lambda t, i=i: tangent(t)[i], params)(jnp.ones_like(value))[0]
    for i, value in enumerate(values)
  ]
  return jnp.stack(values), jax.tree.map(lambda *rows: jnp.stack(rows), *parts), out


def _mean_of_floats(tree, axis):
  """Averages running statistics over the devices; counters are equal on all of them."""
  return jax.tree.map(
    lambda x: parallel.mean_over_devices(x, axis) if jnp.issubdtype(x.dtype, jnp.floating) else x,
    tree,
  )


def make_train_steps(
  train_step: Callable[..., tuple[TrainState, dict[str, jax.Array]]],
  steps_per_call: int,
  length: int | None = None,
) -> Callable[..., tuple[TrainState, dict[str, jax.Array]]]:
  """Makes several steps of several trials one program.

  Args:
    train_step: see `make_train_step`.
    steps_per_call: at most so many steps a call.
    length: of all padded sequences in these steps; None: as stored.

  Returns:
    steps(state, shared, own, fed, index int32[trials, steps_per_call, batch], trials, active
    bool[trials], num_steps, first, frozen, own_frozen, axis) -> (state, metrics {name: [trials,
    steps_per_call]}).
    `shared` are arrays of the training split, `own` further ones with a leading axis of trials, `fed`
    batches that were read for these steps, leaves [trials, steps_per_call, batch, ...]. Only the first
    `num_steps` (traced) are done, so that one compilation serves every distance to the next stop;
    `first` steps were done before them. The state of a trial that is not active stays as it is.
    `frozen` and `own_frozen` are the two parts of `FrozenParams`, {} where all parameters are trained.
  """

  def one_trial(
    state, shared, own, fed, index, trial, active, num_steps, first, frozen, own_frozen, axis
  ):
    # No part of a loop's carry, nor of what `active` decides: nothing in it changes.
    frozen = frozen_params.join(frozen, own_frozen) if frozen or own_frozen else {}

    def step(i, carry):
      state, record = carry
      arrays = {**shared, **own, **jax.tree.map(lambda x: x[i], fed)}
      given = state.replace(frozen=frozen) if frozen else state
      new, metrics = train_step(given, arrays, index[i], trial, axis, length, first + i)
      new = new.replace(frozen={}) if frozen else new
      new = jax.tree.map(lambda n, o: jnp.where(active, n, o), new, state)
      record = {
        n: jnp.zeros((steps_per_call, *m.shape), m.dtype) for n, m in metrics.items()
      } | record
      return new, jax.tree.map(lambda r, m: r.at[i].set(m), record, metrics)

    if steps_per_call == 1:  # no loop: see `parallel.Devices.steps_per_call`
      return step(0, (state, {}))
    _, shapes = jax.eval_shape(step, 0, (state, {}))  # a loop's carry is whole from the start
    record = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return jax.lax.fori_loop(0, num_steps, step, (state, record))

  return parallel.over_trials(one_trial, in_axes=(0, None, 0, 0, 0, 0, 0, None, None, None, 0))
