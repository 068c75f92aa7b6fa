"""The one training loop: every method, every dataset, any number of seeds and devices."""

import contextlib
import functools
import json
import logging
import pathlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from synjax import data, evaluators, methods, parallel, trial
from synjax.config import values
from synjax.config.checks import check_config, check_scoring, make_order, traced_fields
from synjax.data import pipeline, stream
from synjax.evaluators import When
from synjax.training import optim, outcome, selection, step_metrics, warm_start
from synjax.training.predict import Frozen, Predictor
from synjax.training.step import make_train_step
from synjax.training.step_clock import StepClock
from synjax.training.stepper import Stepper
from synjax.training.train_state import TrainState, create_train_state, keep_initial
from synjax.workdir import checkpoint, code_version, files, identity, lock, results, stopping
from synjax.workdir.metrics import MetricWriter
from synjax.workdir.scores import parse_rule

__all__ = ["Run", "check_config", "traced_fields", "train_and_evaluate"]
logger = logging.getLogger("synjax")

Points = Sequence[Mapping[str, Any]] | None  # trials as plain dicts, see `trial.stack`


class Run:
  """A run in progress: what `train_and_evaluate` builds, restores and moves forward."""

  def __init__(self, config, workdir: pathlib.Path, trials: Points = None):
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
    self.dataset = data.load(config)
    self.method = methods.create(config, self.dataset)
    self.evaluators, self.select_metric = check_scoring(config, self.dataset, self.method)
    self.trials = trial.stack(config, traced_fields(config), trials)
    self.method.check_trials(self.trials.hyper)
    self.seeds = self.trials.seed
    self.order = make_order(config, self.dataset, self.seeds)
    self.durations = optim.Durations.from_config(config, self.order.steps_per_epoch)
    create_optimizer = functools.partial(
      optim.create_optimizer,
      config.optim,
      steps_per_epoch=self.durations.steps_per_epoch,
      total_steps=self.durations.total,
    )
    step = make_train_step(
      self.method,
      create_optimizer,
      self.dataset,
      self.durations,
      evaluators.step_metrics(self.evaluators),
    )
    self.clock = StepClock()
    self.remarked: set[str] = set()  # warnings that were given already
    self.predictor = Predictor(
      self.method,
      self.dataset,
      self.devices,
      config.eval_batch_size,
      self.devices.place(self.trials),
    )
    self.stepper = Stepper(
      step,
      self.dataset,
      self.devices,
      self.steps_per_call,
      self.trials,
      self.predictor.arrays(self.dataset.train),
    )
    self.feed: stream.Feed | None = None
    state = jax.device_get(
      create_train_state(self.method, create_optimizer, self.trials, self._example())
    )
    # A run in progress restores its parameters: where they once started may be gone or have changed.
    self.origin = warm_start.recorded(workdir) if identity.is_trained(workdir) else None
    if config.initialize_from and not identity.is_trained(workdir):
      state, self.origin = warm_start.initialize(state, config, self.trials, self.dataset)
    state = keep_initial(self.method, state)
    chosen = selection.create(state.params, state.model_state, len(self.seeds))
    self._initial = {"state": state, "selection": chosen}  # host arrays
    self.selection, self.step = chosen, 0
    self.stepper.place(state)

  @property
  def state(self) -> TrainState:
    """Returns the state of all trials on the devices, leaves [trials, ...]."""
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
      self.selection, self.step = restored["selection"], int(restored["state"].step.max())
      self.stepper.place(restored["state"])
      if not read_only and not self.finished():
        logger.info("continuing at step %d of %d", self.step, self.durations.total)
    del self._initial
    for evaluator in () if read_only else self.evaluators:
      evaluator.forget_after(self.workdir, self.step)
    return self

  def own_ends(self) -> list[int]:
    """Returns steps where this run ended, and was evaluated, unlike a run of today's length."""
    return [
      step
      for step in identity.ends(self.workdir)
      if step < self.durations.total and (step % self.durations.eval or self.method.epoch_end)
    ]

  def _example(self):
    """Returns a batch of two examples, for shapes."""
    split, dataset = self.dataset.train, self.dataset
    if split.generate is not None:
      made = jax.jit(split.generate)(jax.tree.map(lambda x: jnp.asarray(x[0]), self.trials))
      raw = split.gather({**split.arrays, **made}, jnp.arange(2))
    else:
      raw = split.read(np.arange(2))
    keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(2))
    return pipeline.make_views(raw, dataset.transforms, ("clean",), keys, dataset.padding)["clean"]

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
    epochs = self.method.epoch_end is not None
    stop = self.durations.next_stop(self.step, self.steps_per_call, every_epoch=epochs)
    index = self.order.take(self.step, self.steps_per_call)
    # Steps whose batches are padded to another length are another program, and another call.
    num_steps = min(stop - self.step, self.stepper.same_shape(index))
    metrics, compiled = self.stepper.advance(
      index, self._fed(num_steps), self.selection.active, num_steps
    )
    self.step += num_steps
    if compiled:  # compiling and loading are no part of a step's time
      jax.block_until_ready(metrics)
      self.clock.restart(self.step)
    return metrics

  def frozen(self, which: str) -> Frozen:
    """Returns the model at its "best" parameters by validation, or at its "last" ones."""
    return Frozen(self.predictor, *self.weights(which))

  def end_epoch(self) -> None:
    """Lets the method change the state between two epochs."""
    due = self.step % self.durations.steps_per_epoch == 0 and self.step < self.durations.total
    if self.method.epoch_end is None or not due:
      return
    state = self.devices.fetch(self.state)
    new = self.method.epoch_end(
      self.step // self.durations.steps_per_epoch, state, self.frozen("last")
    )
    # A seed that has stopped is as it would be alone, where the run has ended.
    self.stepper.place(selection.choose(self.selection.active, new, state))

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
    )
    return scores

  def save(self, unlogged: Mapping[str, np.ndarray] | None = None) -> None:
    """Saves state and selection, and metrics [trials, steps] of the steps since the last log row."""
    tree = {"state": self.devices.fetch(self.state), "selection": self.selection}
    self.checkpointer.save(self.step, tree, unlogged)

  def finished(self) -> bool:
    """Says whether all steps are done or every seed has stopped early."""
    return self.step >= self.durations.total or not self.selection.active.any()

  def weights(self, which: str) -> tuple[Any, Any]:
    """Returns (params, model_state) on the devices: "best" by validation, or "last"."""
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
      logger.info("scoring the %s parameters, %s, on the test split ...", which, self._ages(which))
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


def train_and_evaluate(
  config, workdir: str, trials: Points = None, *, defaults: Mapping[str, Any] | None = None
) -> dict[str, Any]:
  """Trains, selects and scores all trials of a config; continues where an earlier call stopped.

  A run may become longer, and what only the final scores depend on may change: see
  `workdir.identity`. The rest of a config is the run's for good.

  Args:
    config: locked `ConfigDict`, see `configs/`.
    workdir: output folder: `config.json`, `run.json`, `checkpoints/`, `metrics.jsonl`, `results.json`;
      written to when dataset, method, sizes and durations have been checked.
    trials: runs to train together, each `seed` and values of `traced_fields(config)`; None:
      `config.num_seeds` seeds from `config.seed` on.
    defaults: nested dict of what a field was in runs of versions that had no such field.

  Returns:
    The content of `results.json`.

  Raises:
    ValueError: a config field is wrong, or `workdir` belongs to another config or to other data.
    OSError: `workdir` cannot be written.
    FloatingPointError: a loss term is not finite.
  """
  path, config = files.resolve(workdir), identity.resolve_paths(config)
  code_version.describe()  # now: what is edited while it trains did not make the numbers
  description = json.loads(config.to_json_best_effort())
  if trials is not None:
    description["trials"] = [dict(point) for point in trials]
  with contextlib.ExitStack() as stack:
    # Before anything is loaded: who comes second hears of it at once.
    writes = parallel.is_first_host()
    stack.enter_context(lock.hold(path / lock.FILE, needed=writes))
    run = Run(config, path, trials)
    meant = {
      "select_metric": run.select_metric,
      "data.modalities": list(run.dataset.modalities),
    }
    # Not before everything was built: a config that is refused claims no workdir.
    length_before = identity.claim(
      path,
      description,
      identity.describe_data(run.dataset),
      steps_per_epoch=run.durations.steps_per_epoch,
      eval_steps=run.durations.eval,
      origin=run.origin,
      defaults=defaults,
      meant=meant,
      writes=writes,
    )
    parallel.wait_for_hosts(f"{path} is claimed")
    run.restore()
    for name, fact in run.dataset.facts.items():
      logger.info("%s: %s", name, fact)
    for remark in (remark for one in run.evaluators for remark in one.remarks()):
      logger.warning("%s", remark)
    if length_before is not None:
      _say_new_length(run, length_before)
    stack.callback(run.checkpointer.close)
    writer = stack.enter_context(
      MetricWriter(path, run.seeds, resumed_at=run.step, enabled=parallel.is_first_host())
    )
    bar = stack.enter_context(
      tqdm(total=run.durations.total, initial=run.step, unit="step", disable=None)
    )
    stack.enter_context(stopping.named(lambda: f"at step {run.step} of {run.durations.total}"))
    scored = not identity.needs_scoring(path, description, defaults, meant)
    return _train(run, path, writer, bar, scored=scored)


def _say_new_length(run: Run, before: int) -> None:
  """Logs what it means that a run has become longer or shorter than it was when it last trained."""
  total = run.durations.total
  follows = (*optim.follows_length(run.config.optim), *run.method.follows_length)
  if follows:
    meaning = (
      f"{', '.join(follows)} runs over the whole length: the first {run.step} steps followed that of"
      f" {before}, so this is not what {total} steps from the start give"
    )
  elif run.step in run.own_ends():
    meaning = f"but for the evaluation at its end, step {run.step}, as {total} steps from the start"
  else:
    meaning = f"no schedule depends on the length: the same as {total} steps from the start"
  logger.info("%s: a run of %d steps becomes one of %d; %s", run.workdir, before, total, meaning)
  if not run.selection.active.any():
    logger.info("every seed has stopped early (config.early_stop_patience): no step is left to do")


def _train(
  run: Run, path: pathlib.Path, writer: MetricWriter, bar: tqdm, *, scored: bool
) -> dict[str, Any]:
  """Moves a run to its end and scores it, unless that is `scored` already."""
  started, first, found = time.monotonic(), run.step, None
  if run.finished() and (path / files.RESULTS).exists():
    try:
      found = results.read(path)
    except ValueError as error:
      logger.warning("%s is damaged (%s): scoring again", path / files.RESULTS, error)
  if scored and found:
    return found
  with stopping.deferred():
    _do_steps(run, writer, bar)
  seconds = time.monotonic() - started
  content = outcome.build(path, run, run.final_scores(), seconds=seconds, steps=run.step - first)
  if found:  # only scored again: what a step costs was measured before
    content |= {name: found[name] for name in results.COSTS if name in found}
  if parallel.is_first_host():
    results.write(path, content)
  return content


def _do_steps(run: Run, writer: MetricWriter, bar: tqdm) -> None:
  """Trains to the end, or until a signal asks to stop; what was done is saved then.

  The order of log, evaluation and save is what makes resuming exact.
  """
  durations, started, first, pending = run.durations, time.monotonic(), run.step, _restored(run)
  while not run.finished():
    begin, active = run.step, run.selection.active
    metrics = run.advance()
    pending.append((range(begin, run.step), metrics))
    bar.update(run.step - begin)
    done = run.step == durations.total  # as finished(), before this step's evaluation
    # Also before a save: a checkpoint never holds what has not been checked.
    if done or any(
      run.step % every == 0 for every in (durations.log, durations.eval, durations.checkpoint)
    ):
      metrics = _checked(run, pending, active)
      pending = []
      run.clock.stop(run.step)
      means = step_metrics.average(metrics, evaluators.step_prefixes(run.evaluators))
      writer.write(run.step, {f"train/{name}": value for name, value in means.items()})
      _remark(run, {name: value[active] for name, value in means.items()})
      loss = sum(
        np.nanmean(value[active]) for name, value in means.items() if name.endswith("loss")
      )
      _log_progress(run, loss, time.monotonic() - started, first)
    if done or run.step % durations.eval == 0:
      scores = run.evaluate()
      writer.write(run.step, scores)
      logger.info("step %d: %s", run.step, _one_line(scores, run.select_metric))
    run.end_epoch()  # what was scored is what the epoch trained; who has stopped by it stays
    stop = stopping.due()  # asked at every step: all hosts count them
    if run.finished() or stop or run.step % durations.checkpoint == 0:
      run.save(_checked(run, pending, active) if pending else None)
    if stop:
      return
    if not pending:  # all that was queued is done: what follows is steps again
      run.clock.restart(run.step)


def _remark(run: Run, means: dict[str, np.ndarray]) -> None:
  """Warns, once each, of what the method finds strange in the means [trials] of a log row."""
  for remark in run.method.remarks(means, run.step / run.durations.steps_per_epoch):
    if remark not in run.remarked:
      logger.warning("step %d: %s", run.step, remark)
      run.remarked.add(remark)


def _checked(run: Run, pending, active: np.ndarray) -> dict[str, np.ndarray]:
  """Returns the metrics of the pending calls, [trials, steps], when all are finite."""
  steps, metrics = step_metrics.collect(run.devices, pending)
  partial, folder = evaluators.step_prefixes(run.evaluators), run.checkpointer.folder
  advice, names = step_metrics.advise(run.config), trial.names(run.trials)
  step_metrics.check_finite(metrics, steps, names, active, folder, partial, advice=advice)
  return metrics


def _restored(run: Run) -> list[tuple[range, dict[str, jax.Array]]]:
  """Returns, as one call, the steps that were done before a stop and are in no log row yet."""
  metrics = run.checkpointer.unlogged
  if not metrics:
    return []
  (count,) = {value.shape[1] for value in metrics.values()}
  return [(range(run.step - count, run.step), run.devices.place(metrics))]


def _log_progress(run: Run, loss: float, seconds: float, first: int) -> None:
  """Logs the step, the loss and the time left."""
  rate = (run.step - first) / seconds
  left = (run.durations.total - run.step) / rate
  logger.info(
    "step %d of %d (epoch %.1f): loss %.4f, %.2f steps/s with evaluation, %s left",
    run.step,
    run.durations.total,
    run.step / run.durations.steps_per_epoch,
    loss,
    rate,
    f"{left / 60:.1f} min" if left >= 60 else f"{left:.0f} s",
  )


def _one_line(scores: dict[str, np.ndarray], select_metric: str) -> str:
  """Formats the mean over seeds of the selection metric and the other macro accuracies."""
  selected, _ = parse_rule(select_metric)
  shown = [n for n in scores if n == selected or n.endswith("macro_accuracy")]
  shown.sort(key=lambda name: name != selected)
  return ", ".join(f"{name} {np.mean(scores[name]):.3f}" for name in shown) or "no labels to score"
