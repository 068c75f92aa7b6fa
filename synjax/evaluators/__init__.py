"""Evaluators: what a frozen representation or a classifier is worth.

Importing this package loads none of them, and no jax: reports read what they wrote without.
"""

import importlib
from collections.abc import Callable, Sequence
from typing import Any

from ml_collections import ConfigDict

from synjax.evaluators.base import Comparison, Evaluator, Moment, Scores, When

# name -> where its class is; the order of their scores in the files
EVALUATORS = {
  "classification": "classification.Classification",
  "representation": "representation.Representation",
  "gaussianity": "gaussianity.Gaussianity",
  "ntk": "ntk.NTK",
  "pid": "pid.PIDOfFeatures",
  "baselines": "baselines.Baselines",
  "embeddings": "embeddings.Embeddings",
  "predictions": "predictions.Predictions",
  "subsets": "subsets.Subsets",
  "synergy_subset": "synergy_subset.SynergySubset",
}


def find(name: str) -> type[Evaluator]:
  """Returns the class of an evaluator."""
  module, _, cls = EVALUATORS[name].partition(".")
  return getattr(importlib.import_module(f"synjax.evaluators.{module}"), cls)


def create(config: ConfigDict, dataset: Any, method: Any) -> tuple[Evaluator, ...]:
  """Creates the evaluators that a config asks for, and checks that they can score its run.

  Args:
    config: the run's; `config.evaluators` names what is computed, and some have fields of their own.
    dataset: the `Dataset`.
    method: the `Method`.

  Returns:
    Those named first, in that order.

  Raises:
    ValueError: one is unknown, or cannot.
  """
  classes = {name: find(name) for name in EVALUATORS}
  known = [name for name, cls in classes.items() if cls.when != {When.REQUEST}]
  if not config.evaluators or set(config.evaluators) - set(known):
    raise ValueError(
      f"config.evaluators: expected some of {sorted(known)}, found {tuple(config.evaluators)}"
    )
  order = dict.fromkeys([*config.evaluators, *known])
  chosen = tuple(
    classes[name](config, dataset, method) for name in order if classes[name].wanted(config)
  )
  for evaluator in chosen:
    evaluator.check()
  return chosen


def on_request() -> dict[str, type[Evaluator]]:
  """Returns flag of `launch.evaluate` -> evaluator, for those that have one."""
  return {cls.flag: cls for cls in map(find, EVALUATORS) if cls.flag}


def record(chosen: Sequence[Evaluator], frozen: Any, moment: Moment) -> dict:
  """Scores a model with the evaluators whose moment it is, which keep what they find.

  Args:
    chosen: of a run, see `create`.
    frozen: `training.predict.Frozen`.
    moment: when in the run.

  Returns:
    metric -> [trials].
  """
  return _gather(chosen, frozen, moment.when, lambda one, frozen: one.record(frozen, moment))


def run(chosen: Sequence[Evaluator], frozen: Any, when: When) -> dict:
  """Scores a model as `record` does and keeps nothing."""
  return _gather(chosen, frozen, when, lambda one, frozen: one.run(frozen, when))


def _gather(
  chosen: Sequence[Evaluator], frozen: Any, when: When, score: Callable[[Evaluator, Any], Scores]
) -> dict:
  """Returns the scores of the evaluators whose moment it is, and what follows from them."""
  asked, scores = [one for one in chosen if when in one.when], {}
  together = [subset for one in asked for subset in one.embedded(when)]
  frozen = frozen.embedding(together) if together else frozen
  for evaluator in asked:
    scores |= score(evaluator, frozen)
  for evaluator in asked:
    scores |= evaluator.derive(scores)
  return scores


def step_metrics(chosen: Sequence[Evaluator]) -> Callable[..., dict] | None:
  """Returns (state, batch, info) -> what all of them add to the metrics of a step; None: nothing."""
  hooks = [evaluator.step_metrics for evaluator in chosen if evaluator.step_metrics]
  if not hooks:
    return None
  return lambda *args: {name: value for hook in hooks for name, value in hook(*args).items()}


def step_prefixes(chosen: Sequence[Evaluator]) -> tuple[str, ...]:
  """Returns the starts of the names that `step_metrics` gives."""
  return tuple(f"{evaluator.name}/" for evaluator in chosen if evaluator.step_metrics)


def metric_names(chosen: Sequence[Evaluator]) -> set[str]:
  """Returns the metrics that can select a checkpoint."""
  return set().union(*(evaluator.metric_names() for evaluator in chosen))


def selector(
  names: Sequence[str], metric: str, config: ConfigDict, dataset: Any, method: Any
) -> str:
  """Names the evaluator whose score a metric is: of several that have it the last, see `run`; or ""."""
  known = [name for name in names if name in EVALUATORS]
  having = [n for n in known if metric in find(n)(config, dataset, method).metric_names()]
  return having[-1] if having else ""


def chance(chosen: Sequence[Evaluator]) -> dict[str, float]:
  """Returns task -> chance level of its macro accuracy."""
  return {task: level for one in chosen for task, level in one.chance().items()}


__all__ = [
  "EVALUATORS",
  "Comparison",
  "Evaluator",
  "Moment",
  "Scores",
  "When",
  "chance",
  "create",
  "find",
  "metric_names",
  "on_request",
  "record",
  "run",
  "selector",
  "step_metrics",
  "step_prefixes",
]
