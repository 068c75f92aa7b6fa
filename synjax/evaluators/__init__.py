"""Evaluators: what a frozen representation or a classifier is worth."""

from collections.abc import Mapping

import numpy as np

from synjax.evaluators import classification, ntk, representation

EVALUATORS = {"classification": classification, "representation": representation}


def _chosen(config):
  unknown = sorted(set(config.evaluators) - set(EVALUATORS))
  if unknown or not config.evaluators:
    raise ValueError(
      f"config.evaluators: expected some of {sorted(EVALUATORS)}, found {tuple(config.evaluators)}"
    )
  return [EVALUATORS[name] for name in config.evaluators]


def check(config, dataset, method) -> None:
  """Checks, before anything is trained, that the chosen evaluators can score what a method learns.

  Raises:
    ValueError: one is unknown, or cannot.
  """
  for evaluator in _chosen(config):
    evaluator.check(config, dataset, method)
  if config.ntk_diagnostics:
    ntk.check(dataset, method)


def metric_names(config, dataset) -> set[str]:
  """Returns the names that `validate` gives scores under."""
  return set().union(*(evaluator.metric_names(config, dataset) for evaluator in _chosen(config)))


def validate(config, dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the validation split, for model selection: no test example is looked at.

  Args:
    config: the run's config; `config.evaluators` names what is computed.
    dataset: the `Dataset`.
    frozen: `predict.Frozen`.

  Returns:
    "val/<task>/<metric>" -> [trials].

  Raises:
    ValueError: unknown evaluator.
  """
  scores = {}
  for evaluator in _chosen(config):
    scores |= evaluator.validate(config, dataset, frozen)
  return scores


def test(config, dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the test split with everything chosen on the others; as `validate`."""
  scores = {}
  for evaluator in _chosen(config):
    scores |= evaluator.test(config, dataset, frozen)
  return scores


def chance(config, dataset) -> Mapping[str, float]:
  """Returns task -> chance level of its macro accuracy, for the tasks that are scored."""
  levels = {}
  for evaluator in _chosen(config):
    levels |= {task: 1 / classes for task, classes in evaluator.tasks(dataset).items()}
  return levels


__all__ = ["EVALUATORS", "chance", "check", "metric_names", "test", "validate"]
