"""A run in progress: what is built from its config, restored, moved forward, scored and saved."""

import functools
import logging
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from synjax import data, evaluators, methods, parallel, trial
from synjax.config import values
from synjax.config.checks import check_scoring, make_order, traced_fields
from synjax.data import stream
from synjax.evaluators import When
from synjax.methods.base import named_leaves
from synjax.training import feature_cache, lr_scales, optim, selection, tower_weights, warm_start
from synjax.training.frozen_params import FrozenParams, parts_of_run
from synjax.training.predict import Frozen, Predictor
from synjax.training.step import make_train_step
from synjax.training.step_clock import StepClock
from synjax.training.stepper import Stepper
from synjax.training.train_state import (
  TrainState,
  create_train_state,
  example_batch,
  keep_initial,
)
from synjax.workdir import checkpoint, identity, standardization

logger = logging.getLogger("synjax")

Points = Sequence[Mapping[str, Any]] | None  # trials as plain dicts, see `trial.stack`


class Run:
  """A run in progress: what `train_and_evaluate` builds, restores and moves forward.

  Attributes:
    dataset: what it is trained and evaluated on.
    stored: the same as it is stored: where features of frozen towers are cached, with what they are of.
  """

  def __init__(self, config: ConfigDict, workdir: pathlib.Path, trials: Points = None):
    """Builds everything a run needs from its config; writes nothing, see `restore`.

    Args:
      config: locked `ConfigDict`.
      workdir: output folder.
      trials: see `trial.stack`; they are trained together.

    Raises:
      ValueError: a field that is wrong, or that does not fit the dataset or the method.
    """
    values.check(config, trials)
    self.config, self.workdir = config, workdir
    self.devices = parallel.Devices(config.parallel, config.num_devices)
    self.steps_per_call = config.steps_per_call or self.devices.steps_per_call
    self.devices.check_batch_size("batch_size", config.batch_size)
    self.devices.check_batch_size("eval_batch_size", config.eval_batch_size)
    # New examples are standardised as those that the run was trained on.
    trained = identity.is_trained(workdir)
    known = standardization.read(workdir) if trained else None
    tower_weights.check(config, starts=not trained)
    logger.info("loading %s ...", config.data.name)
    self.stored = data.load(config, known if config.data.get("standardize") else None)
    self.dataset = self.stored
    if config.data.get("cache_features"):
      self.dataset = feature_cache.apply(config, self.stored)
    self.method = methods.create(config, self.dataset)
    optim.check_accumulates(config, self.method)
    self.evaluators, self.select_metric = check_scoring(config, self.dataset, self.method)
    self.trials = trial.stack(config, traced_fields(config), trials)
    self.method.check_trials(self.trials.hyper)
    self.seeds = self.trials.seed
    self.order = make_order(config, self.dataset, self.seeds)
    self.feed: stream.Feed | None = None
    self.durations = optim.Durations.from_config(config, self.order.steps_per_epoch)
    self.clock = StepClock()
    self.predictor = Predictor(
      self.method,
      self.dataset,
      self.devices,
      config.eval_batch_size,
      self.devices.place(self.trials),
    )
    create_optimizer = functools.partial(
      optim.create_optimizer,
      config.optim,
      steps_per_epoch=self.durations.steps_per_epoch,
      total_steps=self.durations.total,
    )
    diagnose = evaluators.step_metrics(self.evaluators)
    self.stepper = Stepper(
      make_train_step(self.method, create_optimizer, self.dataset, self.durations, diagnose),
      self.dataset,
      self.devices,
      self.steps_per_call,
      self.trials,
      self.predictor.arrays(self.dataset.train),
    )
    self._start(create_optimizer)

  def _start(self, create_optimizer: Callable[..., Any]) -> None:
    """Goes to step 0: parameters at random, or those that another run selected."""
    frozen, scales = parts_of_run(self.config, self.dataset)
    state = jax.device_get(
      create_train_state(
        self.method,
        create_optimizer,
        self.trials,
        example_batch(self.stored, self.trials),
        frozen,
      )
    )
    lr_scales.check(scales, named_leaves(state.params))
    trained = identity.is_trained(self.workdir)
    # A run in progress restores its parameters: where they once started may be gone or have changed.
    self.origin = warm_start.recorded(self.workdir) if trained else None
    if self.config.initialize_from and not trained:
      state, self.origin = warm_start.initialize(state, self.config, self.trials, self.dataset)
    loaded: set[str] = set()
    if not trained and not self.config.initialize_from:
      state, loaded = tower_weights.initialize(state, self.config, self.dataset.modalities)
    untaken = (
      warm_start.parts(state.frozen) - loaded - set(self.origin["taken"] if self.origin else ())
    )
    if untaken and not trained:
      logger.warning(
        "config.optim.frozen: %s stay as they were drawn at random", ", ".join(sorted(untaken))
      )
    state = keep_initial(self.method, state)
    watched = len(self.config.early_stop_metrics)
    chosen = selection.create(state.params, state.model_state, len(self.seeds), watched)
    self._initial = {"state": state.saved(), "selection": chosen}  # host arrays
    self.selection, self.step = chosen, 0
    self._place(state.saved(), FrozenParams.of_trials(state.frozen))

  def _place(self, state: Mapping[str, Any], frozen: FrozenParams) -> None:
    """Brings to the devices what a checkpoint holds: host arrays."""
    self.frozen_params = frozen
    self.stepper.freeze(frozen)
    self.stepper.place(TrainState(**state))

  def adopt(self, params: Any, model_state: Any, origin: Mapping[str, Any]) -> None:
    """Goes to the run's end with parameters that another program trained.

    Args:
      params: all of them, host arrays [trials, ...], trained and frozen ones.
      model_state: likewise.
      origin: what `results.json` says of them.
    """
    old = self.devices.fetch(self.state)
    old = old.replace(frozen=self.frozen_params.by_trial(len(self.seeds)))
    step = np.full_like(old.step, self.durations.total)
    new = old.with_whole(params).replace(model_state=model_state, step=step)
    self._place(new.saved(), FrozenParams.of_trials(new.frozen))
    self.origin, self.step = dict(origin), self.durations.total

  @property
  def state(self) -> TrainState:
    """Returns the state of all trials on the devices, leaves [trials, ...], without what is frozen."""
    return self.stepper.state

  def restore(self, *, read_only: bool = False) -> "Run":
    """Opens the workdir's checkpoints and goes to where the newest one is; returns the run itself.

    Args:
      read_only: True only looks: another process may be training here.
    """
    self.checkpointer = checkpoint.Checkpointer(self.workdir, read_only=read_only)
    avoid = [] if read_only else self.own_ends()
    restored = self.checkpointer.restore(self._initial, avoid=avoid)
    if restored is not None:
      self.selection, self.step = restored["selection"], int(restored["state"]["step"].max())
      frozen = self.frozen_params.restored(self.checkpointer.frozen, self.workdir)
      self._place(restored["state"], frozen)
      if not read_only:
        self._continue(avoid)
    del self._initial
    for evaluator in () if read_only else self.evaluators:
      evaluator.forget_after(self.workdir, self.step)
    return self

  def _continue(self, ends: Sequence[int]) -> None:
    """Says where a run goes on; an end that is none any more gets what comes between two epochs.

    Args:
      ends: where this run ended, of those that may still have a checkpoint.
    """
    if parallel.is_first_host():
      identity.forget_ends_after(self.workdir, self.step)
    if not self.finished():
      logger.info("continuing at step %d of %d", self.step, self.durations.total)
    if self.step in ends:
      self.end_epoch()

  def start_remarks(self) -> tuple[str, ...]:
    """Returns what the method says of its settings, see `Method.start_remarks`."""
    shapes = {path: leaf.shape[1:] for path, leaf in named_leaves(self.state.params).items()}
    epochs = self.durations.total / self.durations.steps_per_epoch
    return self.method.start_remarks(self.trials.hyper, epochs, shapes)

  def own_ends(self) -> list[int]:
    """Returns steps where this run ended, and was evaluated, unlike a run of today's length."""
    return [
      step
      for step in identity.ends(self.workdir)
      if step < self.durations.total and (step % self.durations.eval or self.method.epoch_end)
    ]

  def _fed(self, num_steps: int) -> Sequence[Mapping[str, jax.Array]]:
    """Returns the next batches of a streamed training split; nothing for one on the devices."""
    if self.dataset.train.rows is None:
      return [{}] * len(self.seeds)
    if self.feed is None:  # not before the first step: a run that is only scored reads none
      self.feed = stream.Feed(
        self.dataset.train,
        self.order,
        self.dataset.padding,
        self.devices,
        steps=range(self.step, self.durations.total),
        threads=self.config.data.read_threads,
        read_ahead=2 * self.steps_per_call,
      )
    return self.feed.take(num_steps, self.steps_per_call)

  def advance(self) -> dict[str, jax.Array]:
    """Does one call's steps of every trial; returns their metrics, still on the devices."""
    epochs = self.method.epoch_end_every if self.method.epoch_end else 0
    stop = self.durations.next_stop(self.step, self.steps_per_call, every_epochs=epochs)
    index = self.order.take(self.step, self.steps_per_call)
    # Steps whose batches are padded to another length are another program, and another call.
    num_steps = min(stop - self.step, self.stepper.same_shape(index))
    steps = range(self.step, self.step + num_steps)
    fed = self._fed(num_steps)
    metrics, compiled = self.stepper.advance(index, fed, self.selection.active, steps)
    self.step = steps.stop
    if compiled:  # compiling and loading are no part of a step's time
      jax.block_until_ready(metrics)
      self.clock.restart(self.step)
    return metrics

  def frozen(self, which: str) -> Frozen:
    """Returns the model at its "best" parameters by validation, or at its "last" ones."""
    return Frozen(self.predictor, *self.weights(which), self.stepper.frozen)

  def end_epoch(self) -> None:
    """Lets the method change the state between two epochs."""
    every = self.method.epoch_end_every * self.durations.steps_per_epoch
    due = self.step % every == 0 and self.step < self.durations.total
    if self.method.epoch_end is None or not due:
      return
    old = self.devices.fetch(self.state)
    state = old.replace(frozen=self.frozen_params.by_trial(len(self.seeds)))
    new = self.method.epoch_end(
      self.step // self.durations.steps_per_epoch,
      old.replace(params=state.whole(old.params)),
      self.frozen("last"),
    )
    new = new.replace(params=state.with_whole(new.params).params)
    # A seed that has stopped is as it would be alone, where the run has ended.
    self.stepper.place(selection.choose(self.selection.active, new, old))

  def evaluate(self) -> dict[str, np.ndarray]:
    """Scores the current parameters on the validation split and updates the selection."""
    scores = self.score("last", When.EVALUATION)
    newest = {selection.LAST: np.full(len(self.seeds), float(self.step))}
    value = selection.to_maximize(scores | newest, self.select_metric)
    state = self.devices.fetch(self.state)
    self.selection = selection.update(
      self.selection,
      value,
      self.step,
      state.params,
      state.model_state,
      patience=self.config.early_stop_patience,
      watched=selection.watched_values(scores, self.config.early_stop_metrics),
    )
    return scores

  def save(self, unlogged: Mapping[str, np.ndarray] | None = None) -> None:
    """Saves state and selection, and metrics [trials, steps] of the steps since the last log row."""
    tree = {"state": self.devices.fetch(self.state).saved(), "selection": self.selection}
    self.checkpointer.save(self.step, tree, unlogged, self.frozen_params.saved())

  def due(self, *what: str) -> bool:
    """Says whether one of "log", "eval" and "checkpoint" comes after this step; at the end all do."""
    every = [getattr(self.durations, name) for name in what]
    return self.step == self.durations.total or any(self.step % steps == 0 for steps in every)

  def finished(self) -> bool:
    """Says whether all steps are done or every seed has stopped early."""
    return self.step >= self.durations.total or not self.selection.active.any()

  def weights(self, which: str) -> tuple[Any, Any]:
    """Returns (trained params, model_state) on the devices: "best" by validation, or "last"."""
    if which == "last":
      return self.state.params, self.state.model_state
    if which != "best":
      raise ValueError(f"--which: expected best or last, found {which!r}")
    return self.devices.place((self.selection.params, self.selection.model_state))

  def steps_of(self, which: str) -> np.ndarray:
    """Returns the step of each trial's "best" or "last" parameters, int[trials]."""
    step = self.selection.step if which == "best" else self.devices.fetch(self.state.step)
    return np.asarray(step).astype(int)

  def score(self, which: str, when: When, *, keep: bool = True) -> dict[str, np.ndarray]:
    """Scores the "best" or the "last" parameters by the evaluators whose moment it is.

    Args:
      which: see `frozen`.
      when: at the end and on request on the test split.
      keep: False leaves the files of evaluators as they are.

    Returns:
      metric -> [trials].
    """
    if when is not When.EVALUATION:
      logger.info("testing the %s parameters, %s ...", which, self._ages(which))
    if not keep:
      return evaluators.run(self.evaluators, self.frozen(which), when)
    epoch = self.step / self.durations.steps_per_epoch
    moment = evaluators.Moment(when, self.step, epoch, self.workdir)
    return evaluators.record(self.evaluators, self.frozen(which), moment)

  def _ages(self, which: str) -> str:
    """Says in words of which steps parameters are."""
    first, *others = sorted({*self.steps_of(which).tolist()})
    return f"of steps {first} to {others[-1]}" if others else f"of step {first}"

  def final_scores(self) -> dict[str, dict[str, np.ndarray]]:
    """Scores the "best" parameters, whose files are kept, and the "last" ones, on the test split."""
    best = self.score("best", When.END)
    if np.array_equal(self.steps_of("best"), self.steps_of("last")):
      return {"best": best, "last": best}
    return {"best": best, "last": self.score("last", When.END, keep=False)}
