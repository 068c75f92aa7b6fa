"""What a run writes and says while it trains: rows of metrics, warnings, how far it is."""

import contextlib
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence

import jax
import numpy as np
from tqdm import tqdm

from synjax import evaluators, parallel, trial
from synjax.config.durations import in_words
from synjax.training import optim, step_metrics, trackers
from synjax.training.compile_clock import CompileClock
from synjax.training.run import Run
from synjax.workdir import identity
from synjax.workdir.metrics import MetricWriter, name_trials
from synjax.workdir.scores import parse_rule

logger = logging.getLogger("synjax")
_PAUSE = 1.0  # seconds at least between lines of steps


class RunLog:
  """Follows a restored run: metrics, from the calls that computed them to `metrics.jsonl`.

  Metrics of steps stay on the devices until a row is due: the host waits for them no earlier.

  Attributes:
    queued: calls in no row yet: their steps, and name -> [trials, steps or more] on the devices.
  """

  def __init__(self, run: Run, log_to: Sequence[str] = ()):
    """Opens the files, and queues the steps that were done before a stop and are in no row yet.

    Args:
      run: restored.
      log_to: of `trackers.NAMES`: what follows the run, too.
    """
    self._run, self._started, self._first, self._seen = run, time.monotonic(), run.step, run.step
    self._before = identity.read_spent(run.workdir)
    self._warned: set[str] = set()
    self._compiling = CompileClock()
    self._writer = MetricWriter(
      run.workdir, run.seeds, resumed_at=run.step, enabled=parallel.is_first_host()
    )
    self._trackers: tuple[trackers.Tracker, ...] = ()
    if log_to and parallel.is_first_host():
      config = json.loads(run.config.to_json_best_effort())
      self._trackers = trackers.create(log_to, run.workdir, config, len(run.seeds))
    self._said = -np.inf  # when a line of steps was said last
    self._evaluations: list[float] = []  # seconds of each, without compilation
    self._evaluated = -1  # the step of the last
    said = logger.isEnabledFor(logging.INFO)  # None: a bar where there is a terminal
    self._bar = tqdm(
      total=run.durations.total, initial=run.step, unit="step", disable=None if said else True
    )
    self.queued: list[tuple[range, Mapping[str, jax.Array]]] = []
    unlogged = run.checkpointer.unlogged
    if unlogged:
      (count,) = {value.shape[1] for value in unlogged.values()}
      self.queued.append((range(run.step - count, run.step), run.devices.place(unlogged)))

  def __enter__(self) -> "RunLog":
    return self

  def __exit__(self, *error) -> None:
    self._bar.close()
    self._compiling.close()
    self._writer.__exit__(*error)
    for tracker in self._trackers:
      tracker.close()

  @property
  def steps(self) -> int:
    """Returns how many steps the run has done since this was opened."""
    return self._run.step - self._first

  @property
  def seconds(self) -> float:
    """Returns the wall time since this was opened."""
    return time.monotonic() - self._started

  @property
  def spent(self) -> tuple[float, int]:
    """Returns seconds and steps of this process and of those before it that trained the run."""
    seconds, steps = self._before
    return seconds + self.seconds, steps + self.steps

  def keep_spent(self) -> None:
    """Notes what was spent up to the checkpoint that was just saved."""
    if parallel.is_first_host():
      identity.write_spent(self._run.workdir, *self.spent)

  def queue(self, metrics: Mapping[str, jax.Array]) -> None:
    """Takes what `Run.advance` returned for the steps that it did."""
    self.queued.append((range(self._seen, self._run.step), metrics))
    self._bar.update(self._run.step - self._seen)
    self._seen = self._run.step

  def unwritten(self) -> dict[str, np.ndarray]:
    """Returns the queued metrics, name -> [trials, steps]; nothing where none are queued.

    Raises:
      FloatingPointError: a loss term is not finite.
    """
    if not self.queued:
      return {}
    run = self._run
    steps, metrics = step_metrics.collect(run.devices, self.queued)
    step_metrics.check_finite(
      metrics,
      steps,
      trial.names(run.trials),
      run.selection.active,
      run.checkpointer.folder,
      evaluators.step_prefixes(run.evaluators),
      advice=step_metrics.advise(run.config),
    )
    return metrics

  def write_steps(self) -> None:
    """Writes the row of a step: means over all that is queued, once it has been checked."""
    run, metrics = self._run, self.unwritten()
    self.queued = []
    run.clock.stop(run.step)
    means = step_metrics.average(metrics, evaluators.step_prefixes(run.evaluators))
    self._write({f"train/{name}": value for name, value in means.items()})
    active = {name: value[run.selection.active] for name, value in means.items()}
    for remark in run.method.remarks(active, run.step / run.durations.steps_per_epoch):
      if remark not in self._warned:
        logger.warning("step %d: %s", run.step, remark)
        self._warned.add(remark)
    self._say_progress(sum(np.nanmean(v) for name, v in active.items() if name.endswith("loss")))

  def write_end(self, scores: Mapping[str, np.ndarray]) -> None:
    """Tells who follows the run that it is finished, and the scores [trials] of the test split."""
    self._track(scores, finished=True, seconds_left=0.0)

  def _write(self, metrics: Mapping[str, np.ndarray]) -> None:
    """Writes a row of the newest step, metric -> [trials]."""
    self._writer.write(self._run.step, metrics)
    self._track(metrics)

  def _track(self, metrics: Mapping[str, np.ndarray], **more: bool | float) -> None:
    if not self._trackers:
      return
    run, a_step = self._run, self._run.clock.seconds_per_step
    progress = {
      "step": run.step,
      "total_steps": run.durations.total,
      "epoch": run.step / run.durations.steps_per_epoch,
      "steps_per_second": 1 / a_step if a_step else None,
      "seconds_left": self._seconds_left() if self.steps else None,
      **more,
    }
    rows = [
      named | {name: float(value[i]) for name, value in metrics.items()}
      for i, named in enumerate(name_trials(run.seeds))
    ]
    for tracker in self._trackers:
      tracker.write(progress, rows)

  def write_scores(self, scores: Mapping[str, np.ndarray]) -> None:
    """Writes scores [trials], and says the means of the metric that selects and of macro accuracies."""
    self._write(scores)
    selected, _ = parse_rule(self._run.select_metric)
    shown = [n for n in scores if n == selected or n.endswith("macro_accuracy")]
    shown.sort(key=lambda name: name != selected)
    line = ", ".join(f"{name} {np.mean(scores[name]):.3f}" for name in shown)
    logger.info("step %d: %s", self._run.step, line or "no labels to score")

  @contextlib.contextmanager
  def evaluating(self) -> Iterator[None]:
    """Says that the validation split is scored, and measures how long that takes."""
    logger.info("validating at step %d ...", self._run.step)
    start, compiled = time.monotonic(), self._compiling.seconds
    yield
    spent = time.monotonic() - start - (self._compiling.seconds - compiled)
    self._evaluations.append(max(spent, 0.0))
    self._evaluated = self._run.step

  def _seconds_left(self) -> float:
    """Returns the time of the steps and of the evaluations that are left, compilation left out.

    A step takes what it took on average (before one was measured alone, what all of this process took),
    an evaluation likewise; final scores come on top.
    """
    run, total = self._run, self._run.durations.total
    a_step = run.clock.seconds_per_step
    if a_step is None:
      spent = self.seconds - self._compiling.seconds - sum(self._evaluations)
      a_step = max(spent, 0.0) / max(self.steps, 1)
    every = run.durations.eval
    at_the_end = total % every > 0 and self._evaluated < total
    evaluations = total // every - run.step // every + at_the_end
    measured = np.mean(self._evaluations) if self._evaluations else 0.0
    return a_step * (total - run.step) + float(measured) * evaluations

  def _say_progress(self, loss: float) -> None:
    run, now = self._run, time.monotonic()
    if now - self._said < _PAUSE and run.step < run.durations.total:
      return
    self._said, left = now, self._seconds_left()
    a_step = run.clock.seconds_per_step
    unmeasured = "" if self._evaluations else " without validation"
    logger.info(
      "step %d of %d (epoch %.1f): loss %.4f, %s%s left%s, then the test scores",
      run.step,
      run.durations.total,
      run.step / run.durations.steps_per_epoch,
      loss,
      f"{1 / a_step:.3g} steps/s, " if a_step else "",
      in_words(left),
      unmeasured,
    )


def announce(run: Run, length_before: int | None) -> None:
  """Says what there is to know of a run that was just restored.

  Args:
    run: at its newest checkpoint.
    length_before: its steps in all when it last trained, where it has become longer or shorter.
  """
  for name, fact in run.dataset.facts.items():
    logger.info("%s: %s", name, fact)
  if fusion := _describe_fusion(run):
    logger.info("%s", fusion)
  if "modality" in run.config.method:
    logger.info("the modality that is trained, config.method.modality: %s", *run.method.members())
  for remark in (remark for one in run.evaluators for remark in one.remarks()):
    logger.warning("%s", remark)
  for remark in run.start_remarks():
    logger.warning("%s", remark)
  if length_before is not None:
    _announce_length(run, length_before)


def _describe_fusion(run: Run) -> str:
  """Says by what a classifier joins its modalities; "" of methods where nothing is to choose."""
  if not (run.method.learns_from_labels and run.method.fuses):
    return ""
  trunk = run.config.model.trunk
  widths = f", hidden {tuple(trunk.hidden)}" if trunk.name == "mlp" else ""
  return f"what joins the modalities, config.model.trunk: {trunk.name}{widths}"


def _announce_length(run: Run, before: int) -> None:
  """Says what it means that a run has another length than it had."""
  total = run.durations.total
  follows = (*optim.follows_length(run.config.optim), *run.method.follows_length)
  if follows:
    meaning = (
      f"{', '.join(follows)} runs over the whole length: the first {run.step} steps followed that of"
      f" {before}, so this is not what {total} steps from the start give"
    )
  elif run.step in run.own_ends() and run.step % run.durations.eval:
    meaning = f"but for the evaluation at its end, step {run.step}, as {total} steps from the start"
  else:
    meaning = f"no schedule depends on the length: the same as {total} steps from the start"
  logger.info("%s: a run of %d steps becomes one of %d; %s", run.workdir, before, total, meaning)
  if not run.selection.active.any():
    logger.info("every seed has stopped early (config.early_stop_patience): no step is left to do")
