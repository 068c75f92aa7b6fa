"""Model selection: per seed, the best step by a validation metric, and early stopping."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import flax.struct
import jax
import numpy as np
from ml_collections import ConfigDict

from synjax.data.pipeline import Dataset
from synjax.workdir.scores import Score, parse, parse_rule, successor

LAST = "last"  # a metric of its own, the step: the newer, the better


@flax.struct.dataclass
class Selection:
  """What has been best so far, on the host; every leaf has a leading axis of seeds.

  Attributes:
    value: best value of `to_maximize`, the selection metric; -inf before the first evaluation.
    step: step of the best value.
    evaluations_since: evaluations since then.
    active: False = stopped early; the seed's state is frozen from then on.
    params: parameters of the best step.
    model_state: running statistics of the best step.
  """

  value: np.ndarray
  step: np.ndarray
  evaluations_since: np.ndarray
  active: np.ndarray
  params: Any
  model_state: Any


@flax.struct.dataclass
class WatchingSelection(Selection):
  """A selection that goes on while any of further metrics improves.

  Attributes:
    watched: best values of `watched_values`, [trials, metrics].
  """

  watched: np.ndarray


def create(params: Any, model_state: Any, num_seeds: int, num_watched: int = 0) -> Selection:
  """Starts a selection.

  Args:
    params: initial ones, host arrays [trials, ...].
    model_state: likewise.
    num_seeds: trials.
    num_watched: metrics of `config.early_stop_metrics`; 0: the selection metric alone decides.
  """
  found = {
    "value": np.full(num_seeds, -np.inf),
    "step": np.zeros(num_seeds, np.int32),
    "evaluations_since": np.zeros(num_seeds, np.int32),
    "active": np.ones(num_seeds, bool),
    "params": params,
    "model_state": model_state,
  }
  if not num_watched:  # checkpoints of such runs hold no more than they ever did
    return Selection(**found)
  return WatchingSelection(**found, watched=np.full((num_seeds, num_watched), -np.inf))


def update(
  selection: Selection,
  value: np.ndarray,
  step: int,
  params: Any,
  model_state: Any,
  *,
  patience: int | None,
  watched: np.ndarray | None = None,
) -> Selection:
  """Takes one evaluation into account.

  Args:
    selection: so far.
    value: [trials], higher is better; NaN never is.
    step: of the evaluation.
    params: host arrays [trials, ...] of that step.
    model_state: likewise.
    patience: a seed stops after this many evaluations in a row without improvement; None: never.
    watched: `watched_values`, of a `WatchingSelection`: an improvement is one of any of these.

  Returns:
    The new selection. Seeds that have stopped do not change any more.
  """
  improved = selection.active & (value > selection.value)
  goes_on, more = improved, {}
  if isinstance(selection, WatchingSelection):
    better = selection.active[:, None] & (watched > selection.watched)
    goes_on, more = better.any(axis=1), {"watched": np.where(better, watched, selection.watched)}
  since = np.where(goes_on, 0, selection.evaluations_since + selection.active).astype(np.int32)
  stopped = since >= patience if patience is not None else np.zeros_like(improved)
  return selection.replace(
    **more,
    value=np.where(improved, value, selection.value),
    step=np.where(improved, step, selection.step).astype(np.int32),
    evaluations_since=since,
    active=selection.active & ~stopped,
    params=choose(improved, params, selection.params),
    model_state=choose(improved, model_state, selection.model_state),
  )


def choose(which: np.ndarray, new: Any, old: Any) -> Any:
  """Returns new leaves [trials, ...] where `which` bool[trials] is True, else old ones."""
  return jax.tree.map(
    lambda n, o: np.where(which.reshape(-1, *[1] * (np.ndim(n) - 1)), n, o), new, old
  )


def choose_metric(config: ConfigDict, dataset: Dataset) -> str:
  """Returns the selection metric: `config.select_metric`, or where that is "", one that fits the labels.

  Macro accuracy of the classes or labels (mean over several tasks; of a classifier that of the one it
  learns), the squared error of the first regression, and without labels `LAST`: the loss of a method that
  compares the examples of a batch does not say on its own which checkpoint is better.

  Raises:
    ValueError: the dataset has no labels that the metric could be of.
  """
  metric = config.select_metric
  several = dataset.multilabels
  if not (dataset.tasks or several or dataset.regressions or dataset.num_classes):
    if metric not in ("", LAST):
      raise ValueError(
        f"config.select_metric: expected {LAST!r}, for {dataset.name} has no labels to score, found"
        f" {metric!r}"
      )
    return LAST
  if metric:
    return metric
  if "classification" in config.evaluators and dataset.num_classes:
    return str(Score("val", dataset.called, "macro_accuracy"))
  if dataset.regressions and not (dataset.tasks or several):
    return f"-{Score('val', next(iter(dataset.regressions)), 'mse')}"
  tasks = [*dataset.tasks, *several]
  task = next(iter(tasks), dataset.called) if len(tasks) < 2 else "mean"
  return str(Score("val", task, "macro_accuracy"))


def require_metric(
  select_metric: str, known: Collection[str], dataset: str = "", field: str = "select_metric"
) -> None:
  """Raises ValueError when the selection metric is none of the known names, nor `LAST`.

  Args:
    select_metric: see `choose_metric`.
    known: names of scores.
    dataset: name of the data, for what the metric is called now.
    field: of the config that names it.
  """
  name, _ = parse_rule(select_metric)
  if name not in {*known, LAST}:
    raise ValueError(
      f"config.{field}: expected one of {sorted(known)}, with a leading minus where lower is"
      f" better, found {select_metric!r}{successor(select_metric, dataset)}"
    )


def to_maximize(scores: Mapping[str, np.ndarray], select_metric: str) -> np.ndarray:
  """Returns what `update` maximises, [trials]: the metric, or its negative with a leading minus.

  Args:
    scores: metric -> [trials].
    select_metric: see `choose_metric`.

  Raises:
    ValueError: `scores` has no such metric.
  """
  require_metric(select_metric, scores)
  name, sign = parse_rule(select_metric)
  return sign * with_fallback(scores, name)


def watched_values(scores: Mapping[str, np.ndarray], metrics: Sequence[str]) -> np.ndarray | None:
  """Returns what `update` watches, [trials, metrics], higher is better; None: nothing."""
  return np.stack([to_maximize(scores, name) for name in metrics], axis=1) if metrics else None


def with_fallback(scores: Mapping[str, np.ndarray], name: str) -> np.ndarray:
  """Returns the selection metric, [trials]; the overall one where a trial has none.

  The accuracy on one source of the label is NaN in a trial whose validation split lacks that source:
  there the accuracy on all of it decides, as in the published synthetic runs (docs/spec/synib.md
  3.2).
  """
  if name == LAST:
    return scores[name]
  overall = scores.get(str(parse(name)._replace(metric="accuracy")), scores[name])
  return np.where(np.isnan(scores[name]), overall, scores[name])
