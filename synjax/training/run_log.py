"""What a run writes and says while it trains: rows of metrics, warnings, how far it is."""

import contextlib
import logging
import time
from collections.abc import Iterator, Mapping

import jax
import numpy as np
from tqdm import tqdm

from synjax import evaluators, parallel, trial
from synjax.config.durations import in_words
from synjax.training import optim, step_metrics
from synjax.training.compile_clock import CompileClock
from synjax.training.run import Run
from synjax.workdir import identity
from synjax.workdir.metrics import MetricWriter
from synjax.workdir.scores import parse_rule

logger = logging.getLogger("synjax")


class RunLog:
  """Follows a restored run: metrics, from the calls that computed them to `metrics.jsonl`.

  Metrics of steps stay on the devices until a row is due: the host waits for them no earlier.

  Attributes:
    queued: calls in no row yet: their steps, and name -> [trials, steps or more] on the devices.
  """

  def __init__(self, run: Run):
    """Opens the files, and queues the steps that were done before a stop and are in no row yet."""
    self._run, self._started, self._first, self._seen = run, time.monotonic(), run.step, run.step
    self._before = identity.read_spent(run.workdir)
    self._warned: set[str] = set()
    self._compiling = CompileClock()
    self._writer = MetricWriter(
      run.workdir, run.seeds, resumed_at=run.step, enabled=parallel.is_first_host()
    )
    self._evaluations: list[float] = []  # seconds of each, without compilation
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
    self._writer.write(run.step, {f"train/{name}": value for name, value in means.items()})
    active = {name: value[run.selection.active] for name, value in means.items()}
    for remark in run.method.remarks(active, run.step / run.durations.steps_per_epoch):
      if remark not in self._warned:
        logger.warning("step %d: %s", run.step, remark)
        self._warned.add(remark)
    self._say_progress(sum(np.nanmean(v) for name, v in active.items() if name.endswith("loss")))

  def write_scores(self, scores: Mapping[str, np.ndarray]) -> None:
    """Writes scores [trials], and says the means of the metric that selects and of macro accuracies."""
    self._writer.write(self._run.step, scores)
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
    evaluations = total // every - run.step // every + bool(total % every)
    measured = np.mean(self._evaluations) if self._evaluations else 0.0
    return a_step * (total - run.step) + float(measured) * evaluations

  def _say_progress(self, loss: float) -> None:
    run, left = self._run, self._seconds_left()
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
