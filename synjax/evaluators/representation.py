"""Scores of frozen representations: linear and ridge probes, nearest neighbours, missing modalities.

Tasks with classes (`Dataset.tasks`) have a linear probe and nearest neighbours, those with numbers
(`Dataset.regressions`) a ridge probe.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from synjax.config import protocols
from synjax.data.pipeline import Dataset, Split
from synjax.evaluators.estimators import knn, linear, ridge
from synjax.methods.base import Method

MAX_SUBSET_MODALITIES = 4  # 15 subsets

# (split, modalities) -> representations [seeds, examples, dim]; (): all modalities
Embed = Callable[..., np.ndarray]


def check(config, dataset: Dataset, method: Method) -> None:
  """Raises ValueError when there is nothing to probe, or a field of `config.probe` is wrong."""
  if type(method).embed is Method.embed:
    raise ValueError(
      f"config.evaluators: {config.method.name} has no representation to score: expected"
      f" ('classification',), found {tuple(config.evaluators)}"
    )
  for field in ("validation_search", "test_search"):
    known = linear.SEARCHES + (None,) * (field == "validation_search")
    if config.probe[field] not in known:
      raise ValueError(
        f"config.probe.{field}: expected one of {known}, found {config.probe[field]!r}"
      )
  if config.probe.neighbors < 1:
    raise ValueError(f"config.probe.neighbors: expected at least 1, found {config.probe.neighbors}")
  if _is_labelled(dataset):
    for split in (dataset.probe, dataset.val, dataset.test):
      _require_labels(split)


def metric_names(config, dataset: Dataset) -> set[str]:
  """Returns the names of what `validate` scores."""
  del config
  if not _is_labelled(dataset):
    return set()
  names = {f"{task}/{metric}" for task in dataset.tasks for metric in linear.METRICS}
  names |= {f"{task}/{metric}" for task in dataset.regressions for metric in ridge.METRICS}
  names |= {"mean/macro_accuracy"} if dataset.tasks else set()
  return {f"val/{name}" for name in names}


def validate(config, dataset: Dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the validation split, for model selection: no test example is looked at.

  Args:
    config: the run's config; `config.probe.validation_search` is the cost search (None: of its protocol).
    dataset: the `Dataset`.
    frozen: `predict.Frozen`; its `embed` gives the representations of a split.

  Returns:
    "val/<task>/<metric>" of classes and regressions, and "val/mean/macro_accuracy" over the tasks with
    classes -> [seeds]; nothing for a dataset without labels.
  """
  if not _is_labelled(dataset):
    return {}
  val = _split(dataset, dataset.val, frozen.embed)
  probe = _split(dataset, dataset.probe, frozen.embed)
  # Under `paper` the cost is chosen on a part of the training split and the score is what decides.
  choose_on = None if config.protocol == "paper" else val
  search = protocols.read(config, "probe.validation_search")
  scores = _classes(config, dataset, (probe, val, choose_on), search)
  return _named(
    "val", scores | _regressions(config, dataset, (probe, val, choose_on)), dataset.tasks
  )


def test(config, dataset: Dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the test split with everything chosen on the others.

  Args:
    config: the run's config; `config.probe.test_search` is the cost search, `config.probe.neighbors`
      the number of nearest neighbours.
    dataset: the `Dataset`.
    frozen: `predict.Frozen`; its `embed` gives the representations of a split.

  Returns:
    metric -> [seeds]: "test/<task>/<metric>" of the probes, "test/<task>/knn_<metric>" of tasks with
    classes, and "test/without_<modality>/<task>/<metric>" of probes on what is left when a modality
    is missing. An example of which nothing is left is left out of fits and scores, "<task>/left_out" says
    how many of the test split are; NaN where that leaves a split without examples. Nothing for a dataset
    without labels.
  """
  if not _is_labelled(dataset):
    return {}
  splits = _splits(dataset, frozen.embed)
  scores = _named("test", _probe(config, dataset, splits, config.probe.test_search), dataset.tasks)
  scores |= _named("test", _neighbors(config, dataset, splits), ())
  for missing in dataset.modalities if len(dataset.modalities) > 1 else ():
    left = tuple(name for name in dataset.modalities if name != missing)
    scores |= _score_subset(config, dataset, frozen, left, f"test/without_{missing}")
  return scores


def test_subsets(config, dataset: Dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the test split with every non-empty subset of the modalities, as `test` does with all.

  Args:
    config: the run's config; `config.probe.test_search` is the cost search, so that the subset of all
      modalities scores as in `test`.
    dataset: the `Dataset`, of up to 4 modalities: M of them have 2^M - 1 subsets.
    frozen: `predict.Frozen`; its `embed` gives the representations of a split.

  Returns:
    "subset/<modality>+<modality>/<task>/<metric>" and "subset/.../mean/macro_accuracy" -> [seeds];
    single modalities first, in fusion order within a name.

  Raises:
    ValueError: the run is not scored by its representation, there are no labels, or there are too many
      modalities.
  """
  if "representation" not in config.evaluators:
    raise ValueError(
      "--subsets: expected a run that is scored by its representation, found config.evaluators"
      f" {tuple(config.evaluators)}; a classifier (config.method.name {config.method.name}) has no"
      " probes to compare subsets with: leave --subsets out"
    )
  if not _is_labelled(dataset):
    raise ValueError(
      f"--subsets: expected data with labels, found none in {dataset.name}; leave --subsets out"
    )
  if len(dataset.modalities) > MAX_SUBSET_MODALITIES:
    raise ValueError(
      f"--subsets: expected up to {MAX_SUBSET_MODALITIES} modalities, found {dataset.modalities}: that"
      f" would be {2 ** len(dataset.modalities) - 1} subsets; leave --subsets out"
    )
  scores: dict[str, np.ndarray] = {}
  for subset in subsets(dataset.modalities):
    scores |= _score_subset(config, dataset, frozen, subset, f"subset/{'+'.join(subset)}")
  return scores


def _score_subset(config, dataset, frozen, subset: tuple[str, ...], prefix: str):
  """Probes a subset of the modalities: one search of costs, so that it has one number everywhere."""
  splits = _splits(dataset, frozen.embed, subset)
  return _named(prefix, _probe(config, dataset, splits, config.probe.test_search), dataset.tasks)


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
  """Returns the 2^M - 1 non-empty subsets, small ones first, each in fusion order."""
  sizes = range(1, len(modalities) + 1)
  return [subset for size in sizes for subset in itertools.combinations(modalities, size)]


def tasks(dataset: Dataset) -> Mapping[str, int]:
  """Returns task -> number of classes of what is scored and has a chance level."""
  return dataset.tasks


def _is_labelled(dataset: Dataset) -> bool:
  """Says whether examples have labels; those that a dataset makes on the device do."""
  return bool(dataset.tasks or dataset.regressions or dataset.num_classes)


def _require_labels(split: Split) -> None:
  if not split.labels:
    raise ValueError(
      "config.evaluators: representation needs a dataset with stored labels; this one makes examples"
      " of its own for every trial: use classification"
    )


def _split(
  dataset: Dataset, split: Split, embed: Embed, modalities: tuple[str, ...] = ()
) -> linear.Split:
  """Embeds the examples of a split that have any of the modalities; (): of all."""
  _require_labels(split)
  features, labels = embed(split, modalities), split.labels
  having = split.having(modalities or dataset.modalities)
  if having is not None and not having.all():
    features = features[:, having]
    labels = {task: values[having] for task, values in labels.items()}
  return linear.Split(features, labels)


def _splits(dataset: Dataset, embed: Embed, modalities: tuple[str, ...] = ()):
  """Embeds what the probes need: "probe", "val" and "test"; of some modalities, or (): of all."""
  return {
    name: _split(dataset, getattr(dataset, name), embed, modalities)
    for name in ("probe", "val", "test")
  }


def _probe(config, dataset, splits: Mapping[str, linear.Split], search: str):
  """Fits on the probe split and scores the test split; the cost is chosen on the validation split."""
  probe, val, target = splits["probe"], splits["val"], splits["test"]
  left_out = dataset.test.num_examples - target.features.shape[1]
  counts = np.full(len(target.features), float(left_out))
  named = (*dataset.tasks, *dataset.regressions) if left_out else ()
  scores = {f"{task}/left_out": counts for task in named}
  if not all(split.features.shape[1] for split in (probe, val, target)):
    unknown = {f"{task}/macro_accuracy": np.nan * counts for task in dataset.tasks}
    return scores | unknown | {f"{task}/mse": np.nan * counts for task in dataset.regressions}
  held_out = config.protocol == "paper" and not dataset.published_validation
  choose_on = None if held_out else val
  scores |= _classes(config, dataset, (probe, target, choose_on), search)
  return scores | _regressions(config, dataset, (probe, target, val))


def _classes(config, dataset, splits, search: str) -> dict[str, np.ndarray]:
  """Linear probes of (training, scored, choosing) splits, "<task>/<metric>" -> [seeds]."""
  return linear.evaluate_tasks(
    *splits, num_classes=dataset.tasks, protocol=config.protocol, search=search
  )


def _regressions(config, dataset, splits) -> dict[str, np.ndarray]:
  """Ridge probes of (training, scored, choosing) splits, "<task>/<metric>" -> [seeds]."""
  return ridge.evaluate_tasks(*splits, num_outputs=dataset.regressions, protocol=config.protocol)


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
