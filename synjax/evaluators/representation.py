"""Scores of frozen representations: linear and ridge probes, nearest neighbours, missing modalities.

Tasks with classes (`Dataset.tasks`) have a linear probe and nearest neighbours, those with several labels
an example (`Dataset.multilabels`) a linear probe a label, those with numbers (`Dataset.regressions`) a
ridge probe.
"""

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from synjax import parallel
from synjax.config import protocols
from synjax.data.pipeline import Dataset, Split
from synjax.evaluators.base import Evaluator, Moment, Scores, When
from synjax.evaluators.estimators import knn, linear, multilabel, ridge
from synjax.evaluators.progress import Progress
from synjax.workdir import probes
from synjax.workdir.scores import WITHOUT, Score, full_name

logger = logging.getLogger("synjax")

NONE_HAS_ANY = "no scores of %s (NaN): expected examples that have any, found none of %s"
CALLED = {
  "probe": "training",
  "val": "validation",
  "test": "test",
}  # field of `Dataset` -> in words

# (split, modalities) -> representations [trials, examples, dim]; (): all modalities
Embed = Callable[..., np.ndarray]


class Representation(Evaluator):
  """Scores representations by what simple models read off them.

  Each evaluation is of the validation split: "val/<task>/<metric>" of classes and regressions, and
  "val/mean/macro_accuracy" over the tasks with classes. The search of the probe's cost is
  `config.probe.validation_search` (None: of its protocol).

  From the end on it is of the test split, with everything chosen on the others: "test/<task>/<metric>" of
  the probes (`config.probe.test_search`), "test/<task>/knn_<metric>" of tasks with classes
  (`config.probe.neighbors`), and "test/without_<modality>/<task>/<metric>" of probes on what is left when
  a modality is missing. An example of which nothing is left is left out of fits and scores,
  "<task>/left_out" says how many of the test split are; NaN where that leaves a split without examples.

  A dataset without labels has no scores. The probes of the end, of all modalities, are kept in the
  workdir (`workdir.probes`): a pre-trained model predicts by them.
  """

  name = "representation"
  when = frozenset(When)
  requires = ("embed",)

  def refusal(self, missing: list[str]) -> str:
    """Returns the message for a method without representation."""
    del missing
    return (
      f"config.evaluators: {self.config.method.name} has no representation to score: expected"
      f" ('classification',), found {tuple(self.config.evaluators)}"
    )

  def check(self) -> None:
    """Raises ValueError when there is nothing to probe, or a field of `config.probe` is wrong."""
    super().check()
    probe, dataset = self.config.probe, self.dataset
    for field in ("validation_search", "test_search"):
      known = linear.SEARCHES + (None,) * (field == "validation_search")
      if probe[field] not in known:
        raise ValueError(f"config.probe.{field}: expected one of {known}, found {probe[field]!r}")
    check_neighbors(self.config)
    if is_labelled(dataset):
      for split in (dataset.probe, dataset.val, dataset.test):
        _require_labels(split)
      self._check_examples()
      self._check_hold_out()

  def _check_examples(self) -> None:
    """Checks that every split has examples, and that there are two classes to tell apart."""
    dataset = self.dataset
    for name, called in CALLED.items():
      split = getattr(dataset, name)
      having = split.having(dataset.modalities)
      if having is not None and not having.any():
        raise ValueError(
          f"config.evaluators: representation: expected {called} examples that have a modality, found"
          f" none among {split.num_examples}; see <modality>_present of {dataset.name}"
        )
    for task in dataset.multilabels:
      labels = _labels(dataset, dataset.probe)[task]
      if (labels == labels[0]).all():
        raise ValueError(
          "config.evaluators: representation: expected training examples with different labels of"
          f" {task}, found that all {len(labels)} have the same; add others"
        )
    for task in dataset.tasks:
      labels, names = _labels(dataset, dataset.probe)[task], dataset.class_names.get(task)
      if reason := linear.cannot_fit(labels, names, hold_out=False):
        raise ValueError(
          f"config.evaluators: representation: expected training examples of two classes of {task},"
          f" found that {reason}; add examples of another one"
        )

  def _check_hold_out(self) -> None:
    """Checks that `paper`, which chooses the cost on a part of the training split, has such a part."""
    dataset = self.dataset
    if self.config.protocol != "paper":
      return
    labels, names = _labels(dataset, dataset.probe), dataset.class_names
    reasons = {t: linear.cannot_hold_out(labels[t], names.get(t)) for t in dataset.tasks}
    reasons |= {t: ridge.cannot_hold_out(len(labels[t])) for t in dataset.regressions}
    for task, reason in reasons.items():
      if reason:
        raise ValueError(
          "config.protocol: expected training examples of which paper can hold out a part to choose the"
          f" probe's cost, found {task}: {reason}; add examples, leave a class out, or"
          " --config.protocol=clean, which chooses it on the validation split"
        )

  def metric_names(self) -> set[str]:
    """Returns the names of what an evaluation scores."""
    dataset = self.dataset
    if not is_labelled(dataset):
      return set()
    metrics = {task: linear.metric_names(size) for task, size in dataset.tasks.items()}
    metrics |= dict.fromkeys(dataset.multilabels, multilabel.METRICS)
    metrics |= dict.fromkeys(dataset.regressions, ridge.METRICS)
    names = {str(Score("val", task, metric)) for task in metrics for metric in metrics[task]}
    mean = {str(Score("val", "mean", "macro_accuracy"))} if in_mean(dataset) else set()
    return names | mean

  def chance(self) -> Mapping[str, float]:
    """Returns the chance level of the tasks with classes."""
    found = {task: 1 / classes for task, classes in self.dataset.tasks.items()}
    return found | dict.fromkeys(self.dataset.multilabels, multilabel.CHANCE)

  def embedded(self, when: When) -> tuple[tuple[str, ...], ...]:
    """Returns all modalities, and from the end on what is left without each."""
    if not is_labelled(self.dataset):
      return ()
    return ((), *(self._left().values() if when is not When.EVALUATION else ()))

  def _left(self) -> dict[str, tuple[str, ...]]:
    """Returns modality -> those that are left without it; nothing where that is none."""
    every = self.dataset.modalities
    left = {missing: tuple(name for name in every if name != missing) for missing in every}
    return left if len(every) > 1 else {}

  def run(self, frozen: Any, when: When) -> Scores:
    """Fits the probes on the probe split and scores another one."""
    if not is_labelled(self.dataset):
      return {}
    return self._validate(frozen) if when is When.EVALUATION else self._test(frozen)

  def record(self, frozen: Any, moment: Moment) -> Scores:
    """Scores a model as `run` does; at the end the probes are kept."""
    if moment.when is not When.END or not is_labelled(self.dataset):
      return self.run(frozen, moment.when)
    fitted: dict[str, list] = {}
    scores = self._test(frozen, lambda task, probe: fitted.setdefault(task, []).append(probe))
    if parallel.is_first_host():
      probes.write(moment.workdir, fitted)
    return scores

  def _validate(self, frozen) -> dict[str, np.ndarray]:
    config, dataset = self.config, self.dataset
    val = _split(dataset, dataset.val, frozen.embed)
    probe = _split(dataset, dataset.probe, frozen.embed)
    # Under `paper` the cost is chosen on a part of the training split and the score is what decides.
    choose_on = None if config.protocol == "paper" else val
    search = protocols.read(config, "probe.validation_search")
    said = _progress(dataset, len(probe.features), "validation")
    scores = _classes(config, dataset.tasks, (probe, val, choose_on), search, said)
    scores |= _several(config, dataset, (probe, val, choose_on), search, said)
    scores |= _regressions(config, dataset, (probe, val, choose_on), said)
    return _named(scores, in_mean(dataset), "val")

  def _test(self, frozen, keep: linear.Keep | None = None) -> dict[str, np.ndarray]:
    config, dataset = self.config, self.dataset
    splits = _splits(dataset, frozen.embed)
    left = self._left()
    said = _progress(dataset, len(splits["probe"].features), "test", 1 + len(left))
    probed = _probe(config, dataset, splits, said, keep=keep)
    scores = _named(probed, in_mean(dataset), "test")
    scores |= _named(_neighbors(config, dataset, splits), (), "test")
    for missing, subset in left.items():
      seen = f"{WITHOUT}{missing}"
      scores |= score_subset(config, dataset, frozen, subset, "test", seen, said)
    return scores


def check_neighbors(config: ConfigDict) -> None:
  """Raises ValueError where `config.probe.neighbors` are none."""
  if config.probe.neighbors < 1:
    raise ValueError(f"config.probe.neighbors: expected at least 1, found {config.probe.neighbors}")


def score_subset(
  config: ConfigDict,
  dataset: Dataset,
  frozen: Any,
  subset: tuple[str, ...],
  split: str,
  seen: str,
  said: Progress | None = None,
) -> dict[str, np.ndarray]:
  """Probes a subset of the modalities: one search of costs, so that it has one number everywhere.

  Args:
    config: of the run.
    dataset: whose test split is scored.
    frozen: the trained parameters.
    subset: the modalities that are left.
    split: "test" or "subset", of the scores' names.
    seen: what a score's name says of the modalities, `Score.modalities`.
    said: counts the probes.

  Returns:
    Score's name -> [trials].
  """
  return _named(probe(config, dataset, frozen, subset, said), in_mean(dataset), split, seen)


def probe(
  config: ConfigDict,
  dataset: Dataset,
  frozen: Any,
  subset: tuple[str, ...] = (),
  said: Progress | None = None,
) -> dict[str, np.ndarray]:
  """Probes a subset of the modalities, (): all; "<task>/<metric>" of the test split -> [trials]."""
  splits = _splits(dataset, frozen.embed, subset)
  return _probe(config, dataset, splits, said, subset)


def _progress(dataset: Dataset, trials: int, split: str, parts: int = 1) -> Progress:
  """Returns what counts the probes of a split: of every task and trial, in so many parts."""
  tasks = len(dataset.tasks) + len(dataset.multilabels) + len(dataset.regressions)
  return Progress(f"probes of the {split} split", parts * trials * tasks)


def is_labelled(dataset: Dataset) -> bool:
  """Says whether examples have labels; those that a dataset makes on the device do."""
  labelled = dataset.tasks or dataset.multilabels or dataset.regressions
  return bool(labelled or dataset.num_classes)


def in_mean(dataset: Dataset) -> tuple[str, ...]:
  """Returns the tasks whose macro accuracies are averaged."""
  return (*dataset.tasks, *dataset.multilabels)


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
  features, having = embed(split, modalities), split.having(modalities or dataset.modalities)
  if having is not None and not having.all():
    features = features[:, having]
  return linear.Split(features, _labels(dataset, split, modalities))


def _labels(
  dataset: Dataset, split: Split, modalities: tuple[str, ...] = ()
) -> Mapping[str, np.ndarray]:
  """Returns the labels of the examples of a split that have any of the modalities; (): of all."""
  having = split.having(modalities or dataset.modalities)
  rows = slice(None) if having is None or having.all() else having
  return {task: values[rows] for task, values in split.labels.items()}


def _splits(dataset: Dataset, embed: Embed, modalities: tuple[str, ...] = ()):
  """Embeds what the probes need: "probe", "val" and "test"; of some modalities, or (): of all."""
  return {
    name: _split(dataset, getattr(dataset, name), embed, modalities)
    for name in ("probe", "val", "test")
  }


def _probe(
  config,
  dataset,
  splits: Mapping[str, linear.Split],
  said: Progress | None,
  modalities: tuple[str, ...] = (),
  keep: linear.Keep | None = None,
) -> dict[str, np.ndarray]:
  """Fits on the probe split and scores the test split; the cost is chosen on the validation split.

  A task whose training examples allow no probe has NaN, and the reason is said.
  """
  search = config.probe.test_search
  probe, val, target = splits["probe"], splits["val"], splits["test"]
  left_out = dataset.test.num_examples - target.features.shape[1]
  counts = np.full(len(target.features), float(left_out))
  named = (*in_mean(dataset), *dataset.regressions) if left_out else ()
  scores = {f"{task}/left_out": counts for task in named}
  seen = " and ".join(modalities or dataset.modalities)
  empty = [name for name, split in splits.items() if not split.features.shape[1]]
  if empty:
    found = ", ".join(f"{getattr(dataset, e).num_examples} {CALLED[e]}" for e in empty)
    logger.warning(NONE_HAS_ANY, seen, found)
    unknown = {f"{task}/macro_accuracy": np.nan * counts for task in in_mean(dataset)}
    return scores | unknown | {f"{task}/mse": np.nan * counts for task in dataset.regressions}
  held_out = config.protocol == "paper" and not dataset.published_validation
  choose_on, tasks = None if held_out else val, {}
  for task, classes in dataset.tasks.items():
    names = dataset.class_names.get(task)
    if reason := linear.cannot_fit(probe.labels[task], names, hold_out=held_out):
      logger.warning(
        "%s: no score of %s (NaN): expected training examples to fit a probe to, found %d: %s",
        *(task, seen, len(probe.labels[task]), reason),
      )
      scores[f"{task}/macro_accuracy"] = np.nan * counts
    else:
      tasks[task] = classes
  scores |= _classes(config, tasks, (probe, target, choose_on), search, said, keep)
  scores |= _several(config, dataset, (probe, target, choose_on), search, said, keep)
  return scores | _regressions(config, dataset, (probe, target, val), said, keep)


def _classes(
  config, tasks, splits, search: str, said: Progress | None, keep: linear.Keep | None = None
) -> dict[str, np.ndarray]:
  """Linear probes of (training, scored, choosing) splits, "<task>/<metric>" -> [trials]."""
  return linear.evaluate_tasks(
    *splits,
    num_classes=tasks,
    protocol=config.protocol,
    search=search,
    fitted=said,
    keep=keep,
  )


def _several(
  config, dataset, splits, search: str, said: Progress | None, keep: linear.Keep | None = None
) -> dict[str, np.ndarray]:
  """A linear probe a label of (training, scored, choosing) splits, "<task>/<metric>" -> [trials]."""
  return multilabel.evaluate_tasks(
    *splits,
    num_labels=dataset.multilabels,
    protocol=config.protocol,
    search=search,
    fitted=said,
    keep=keep,
  )


def _regressions(
  config, dataset, splits, said: Progress | None, keep: linear.Keep | None = None
) -> dict[str, np.ndarray]:
  """Ridge probes of (training, scored, choosing) splits, "<task>/<metric>" -> [trials]."""
  return ridge.evaluate_tasks(
    *splits,
    num_outputs=dataset.regressions,
    protocol=config.protocol,
    fitted=said,
    keep=keep,
  )


def _neighbors(config, dataset, splits) -> dict[str, np.ndarray]:
  """Scores nearest neighbours of the test split in the probe split, "<task>/knn_<metric>"."""
  probe, target = splits["probe"], splits["test"]
  scores: dict[str, list] = {}
  for train, queries in zip(probe.features, target.features, strict=True):
    found = knn.knn_accuracies(
      train,
      probe.labels,
      queries,
      target.labels,
      num_classes=dataset.tasks,
      num_neighbors=config.probe.neighbors,
    )
    for task, fractions in found.items():
      for metric, value in fractions.items():
        scores.setdefault(f"{task}/knn_{metric}", []).append(value)
  return {name: np.array(values) for name, values in scores.items()}


def _named(
  scores: Mapping[str, np.ndarray], tasks: Iterable[str], split: str, seen: str = ""
) -> dict[str, np.ndarray]:
  """Names "<task>/<metric>" of a split in full and adds the mean macro accuracy over tasks."""
  named = {full_name(name, split, seen): value for name, value in scores.items()}
  if tasks:
    named[str(Score(split, "mean", "macro_accuracy", seen))] = np.mean(
      [scores[f"{task}/macro_accuracy"] for task in tasks], axis=0
    )
  return named
