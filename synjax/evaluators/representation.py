"""Scores of frozen representations: linear probe, nearest neighbours, missing modalities."""

from collections.abc import Callable, Mapping

import numpy as np

from synjax.data.pipeline import Dataset, Split
from synjax.evaluators import knn, linear_probe

# (split, modalities) -> representations [seeds, examples, dim]; () means all modalities
Embed = Callable[..., np.ndarray]


def validate(config, dataset: Dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the validation split, for model selection: no test example is looked at.

  Args:
    config: the run's config; `config.probe.validation_search` is the cost search.
    dataset: the `Dataset`.
    frozen: `predict.Frozen`; its `embed` gives the representations of a split.

  Returns:
    "val/<task>/<metric>" and "val/mean/macro_accuracy" (over tasks) -> [seeds].
  """
  val = _split(dataset.val, frozen.embed)
  probe = _split(dataset.probe, frozen.embed)
  # Under `paper` the cost is chosen on a part of the training split and the score is what decides.
  scores = linear_probe.evaluate_tasks(
    probe,
    val,
    None if config.protocol == "paper" else val,
    num_classes=dataset.tasks,
    protocol=config.protocol,
    search=config.probe.validation_search,
  )
  return _named("val", scores, dataset.tasks)


def test(config, dataset: Dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the test split with everything chosen on the others.

  Args:
    config: the run's config; `config.probe.test_search` is the cost search, `config.probe.neighbors`
      the number of nearest neighbours.
    dataset: the `Dataset`.
    frozen: `predict.Frozen`; its `embed` gives the representations of a split.

  Returns:
    metric -> [seeds]: "test/<task>/<metric>" of the linear probe, "test/<task>/knn_<metric>", and
    "test/without_<modality>/<task>/<metric>" of a probe on what is left when a modality is missing.
  """
  splits = {name: _split(getattr(dataset, name), frozen.embed) for name in ("probe", "val", "test")}
  scores = _named("test", _probe(config, dataset, splits, config.probe.test_search), dataset.tasks)
  scores |= _named("test", _neighbors(config, dataset, splits), ())
  for missing in dataset.modalities if len(dataset.modalities) > 1 else ():
    left = tuple(name for name in dataset.modalities if name != missing)
    partial = {
      name: _split(getattr(dataset, name), lambda split, left=left: frozen.embed(split, left))
      for name in splits
    }
    without = _probe(config, dataset, partial, config.probe.validation_search)
    scores |= _named(f"test/without_{missing}", without, dataset.tasks)
  return scores


def tasks(dataset: Dataset) -> Mapping[str, int]:
  """Returns task -> number of classes of what is scored."""
  return dataset.tasks


def _split(split: Split, embed: Embed) -> linear_probe.Split:
  if not split.labels:
    raise ValueError(
      "config.evaluators: representation needs a dataset with stored labels; this one makes examples"
      " of its own for every trial: use classification"
    )
  return linear_probe.Split(embed(split), split.labels)


def _probe(config, dataset, splits: Mapping[str, linear_probe.Split], search: str):
  """Fits on the probe split and scores the test split; the cost is chosen on the validation split."""
  return linear_probe.evaluate_tasks(
    splits["probe"],
    splits["test"],
    None if config.protocol == "paper" else splits["val"],
    num_classes=dataset.tasks,
    protocol=config.protocol,
    search=search,
  )


def _neighbors(config, dataset, splits) -> dict[str, np.ndarray]:
  """Scores nearest neighbours of the test split in the probe split, "<task>/knn_<metric>"."""
  probe, target = splits["probe"], splits["test"]
  scores: dict[str, list] = {}
  for task, num_classes in dataset.tasks.items():
    for train, queries in zip(probe.features, target.features, strict=True):
      found = knn.knn_accuracy(
        train,
        probe.labels[task],
        queries,
        target.labels[task],
        num_neighbors=config.probe.neighbors,
        num_classes=num_classes,
      )
      for metric, value in found.items():
        scores.setdefault(f"{task}/knn_{metric}", []).append(value)
  return {name: np.array(values) for name, values in scores.items()}


def _named(prefix: str, scores: Mapping[str, np.ndarray], tasks) -> dict[str, np.ndarray]:
  """Puts the prefix before every name and adds the mean macro accuracy over tasks."""
  named = {f"{prefix}/{name}": value for name, value in scores.items()}
  if tasks:
    named[f"{prefix}/mean/macro_accuracy"] = np.mean(
      [scores[f"{task}/macro_accuracy"] for task in tasks], axis=0
    )
  return named
