"""What a run must beat: the majority, simple models of raw features, and its own model untrained."""

import functools
import hashlib
import logging
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from synjax.evaluators import raw_features
from synjax.evaluators.base import Evaluator, Scores, When, provides
from synjax.evaluators.estimators import knn, linear, metrics, multilabel, ridge
from synjax.evaluators.progress import Progress
from synjax.evaluators.representation import (
  CALLED,
  Representation,
  in_mean,
  is_labelled,
  probe,
  score_subset,
)
from synjax.workdir.scores import WITHOUT, Baseline, Score, full_name, parse

logger = logging.getLogger("synjax")

_OF_CONSTANTS = ("macro_accuracy", "accuracy")  # metrics of what says the same of every example
# Digest of features, labels and fields -> scores: a sweep asks for those of one dataset in every stack.
_scored: dict[str, dict[str, float]] = {}


class _Problem(NamedTuple):
  """Raw features of some modalities: split -> of the examples that have any of them."""

  seen: str  # see `Baseline.modalities`
  splits: Mapping[str, linear.Split]


class Baselines(Evaluator):
  """Scores trivial models on the splits of a run and by its metrics, at the end.

  "test/<task>/baseline/<model>[/<modalities>]/<metric>", of tasks with classes:

  * majority: the most frequent class of the probe split;
  * logistic, knn: logistic regression (`estimators.linear`, its cost chosen on the validation split, also
    under `paper` with the squared penalty) and nearest neighbours (`config.probe.neighbors`) on raw
    features (`raw_features`), of all modalities together and of each alone; and logistic's "sis";
  * random_encoder: the run's own model as it was initialised, before any step and whatever
    `config.initialize_from` says, read off by the probe that reads off the trained one.

  Of several labels an example the same, label by label, by the metrics of `multilabel.scores`: majority
  says of each what most training examples have (equals: 0), logistic is one regression a label at one
  cost, and knn a vote on each.

  Of regressions: mean_label, ridge (as logistic) and random_encoder; nearest neighbours vote for classes,
  so there are none. "test/<task>/sis" is that of the run's own probes (`metrics.relative_gain` of macro
  accuracies), where it is scored by them.

  All but random_encoder and the run's sis are functions of the data: computed once, the same for all
  trials, for the "best" parameters and for the "last". Where raw features would be too many
  (`raw_features.too_large`) the models on them are left out, which is said; a dataset without labels has
  no scores.
  """

  name = "baselines"
  when = frozenset({When.END})
  _untrained: Scores | None = None  # of the random encoder, once they are known

  def check(self) -> None:
    """Raises ValueError where examples are made for every trial, which then have no labels to compare."""
    super().check()
    dataset = self.dataset
    stored = all(split.labels for split in (dataset.probe, dataset.val, dataset.test))
    if is_labelled(dataset) and not stored:
      raise ValueError(
        f"config.evaluators: baselines: expected a dataset with stored labels, found {dataset.name},"
        " which makes examples of its own for every trial; leave baselines out"
      )

  def remarks(self) -> tuple[str, ...]:
    """Says that raw features are too many."""
    if not is_labelled(self.dataset):
      return ()
    why = self._too_large
    return (f"baselines on raw features are left out: {why}",) if why else ()

  def embedded(self, when: When) -> tuple[tuple[str, ...], ...]:
    """Returns each modality alone, where nothing else probes it."""
    del when
    return tuple((name,) for name in self._probed_alone())

  def run(self, frozen: Any, when: When) -> Scores:
    """Scores the baselines; the models on raw features the first time only."""
    del when
    if not is_labelled(self.dataset):
      return {}
    trials = len(frozen.seeds)
    scores = {name: np.full(trials, value) for name, value in self._of_data.items()}
    return scores | self._random_encoder(frozen) | self._alone(frozen)

  def derive(self, scores: Scores) -> Scores:
    """Returns the run's own "test/<task>/sis"; nothing where its modalities were not scored alone."""
    modalities, found = self.dataset.modalities, {}
    for task in in_mean(self.dataset) if len(modalities) > 1 else ():
      names = [str(self._seen_alone(name, task)) for name in modalities]
      whole = str(Score("test", task, "macro_accuracy"))
      if {whole, *names} <= set(scores):
        parts = np.stack([scores[name] for name in names])
        found[str(Score("test", task, "sis"))] = metrics.relative_gain(scores[whole], parts)
    return found

  def _seen_alone(self, modality: str, task: str) -> Score:
    """Names the probe's score with one modality: of two, what is left without the other."""
    modalities = self.dataset.modalities
    if len(modalities) > 2:
      return Score("subset", task, "macro_accuracy", modality)
    (other,) = set(modalities) - {modality}
    return Score("test", task, "macro_accuracy", f"{WITHOUT}{other}")

  def _alone(self, frozen) -> Scores:
    """Probes each modality alone, where nothing else does."""
    found: dict[str, np.ndarray] = {}
    for name in self._probed_alone():
      found |= score_subset(self.config, self.dataset, frozen, (name,), "subset", name)
    return found

  def _probed_alone(self) -> tuple[str, ...]:
    """Returns the modalities whose probes nothing else scores."""
    every = self.dataset.modalities
    probed = Representation.wanted(self.config) and is_labelled(self.dataset)
    return every if probed and len(every) > 2 else ()

  def _random_encoder(self, frozen) -> Scores:
    if not provides(self.method, "embed"):
      return {}
    if self._untrained is None:
      found = probe(self.config, self.dataset, frozen.untrained()).items()
      parsed = ((parse(full_name(name, "test")), values) for name, values in found)
      baseline = Baseline("random_encoder")
      self._untrained = {baseline.score(s.task, s.metric): values for s, values in parsed}
    return self._untrained

  @functools.cached_property
  def _too_large(self) -> str:
    return raw_features.too_large(self.dataset.probe, self.dataset.modalities)

  @functools.cached_property
  def _of_data(self) -> Mapping[str, float]:
    """Scores of what depends on the data alone."""
    scores = dict(self._labels_alone())
    if self._too_large:
      return scores
    problems = list(self._problems())
    key = self._digest(problems)
    if key not in _scored:
      _scored[key] = self._raw(problems)
    return scores | _scored[key]

  def _labels_alone(self) -> Iterator[tuple[str, float]]:
    """Scores what is said without looking at an example."""
    learned, target = self.dataset.probe.labels, self.dataset.test.labels
    for task in self.dataset.tasks:
      found = metrics.accuracies(np.full(len(target[task]), _most(learned[task])), target[task])
      # Of a constant, macro accuracy has no error: it is one over the classes, whatever is drawn.
      known = {name: found[name] for name in _OF_CONSTANTS}
      yield from _named(Baseline("majority"), task, known)
    for task in self.dataset.multilabels:
      most = np.where(learned[task].mean(axis=0) > 0.5, 1.0, -1.0)
      constant = multilabel.scores(np.broadcast_to(most, target[task].shape), target[task])
      known = {name: constant[name] for name in (*_OF_CONSTANTS, "macro_f1", "weighted_f1")}
      yield from _named(Baseline("majority"), task, known)
    for task in self.dataset.regressions:
      mean = np.broadcast_to(learned[task].mean(0, dtype=np.float64), target[task].shape)
      yield from _named(Baseline("mean_label"), task, ridge.score(mean, target[task]))

  def _problems(self) -> Iterator[_Problem]:
    """Yields the raw features of all modalities, then of each alone."""
    dataset = self.dataset
    splits = {name: getattr(dataset, name) for name in ("probe", "val", "test")}
    read = {name: raw_features.read(split, dataset.modalities) for name, split in splits.items()}
    features = raw_features.standardize(read, "probe")
    alone = [(name,) for name in dataset.modalities] if len(dataset.modalities) > 1 else []
    for subset in (dataset.modalities, *alone):
      found = {}
      for name, split in splits.items():
        having = split.having(subset)
        rows = slice(None) if having is None else having
        values = np.concatenate([features[name][m] for m in subset], axis=1)[rows]
        found[name] = linear.Split(values, {t: label[rows] for t, label in split.labels.items()})
      yield _Problem("" if subset == dataset.modalities else subset[0], found)

  def _digest(self, problems) -> str:
    """Identifies what the scores on raw features depend on."""
    probe_fields = (self.config.probe.test_search, self.config.probe.neighbors, self._held_out)
    kinds = (self.dataset.tasks, self.dataset.multilabels)
    digest = hashlib.sha256(repr((probe_fields, *kinds)).encode())
    for seen, splits in problems:
      for name, split in splits.items():
        digest.update(f"{seen}/{name}/{split.features.shape}".encode())
        for array in (split.features, *split.labels.values()):
          digest.update(np.ascontiguousarray(array))
    return digest.hexdigest()

  @property
  def _held_out(self) -> bool:
    """Says whether costs are chosen on a part of the probe split: validation may be the test split."""
    return self.config.protocol == "paper" and not self.dataset.published_validation

  def _raw(self, problems) -> dict[str, float]:
    dataset = self.dataset
    fits = dict.fromkeys(dataset.tasks, self._classes)
    fits |= dict.fromkeys(dataset.multilabels, self._several)
    fits |= dict.fromkeys(dataset.regressions, self._numbers)
    sizes = {**dataset.tasks, **dataset.multilabels, **dataset.regressions}
    said = Progress("baselines on raw features", len(problems) * len(fits))
    scores: dict[str, float] = {}
    for seen, splits in problems:
      for task, fit in fits.items():
        own = {name: _of_task(s, task) for name, s in splits.items()}
        if reason := self._cannot_fit(task, own):
          what = (task, seen or "all modalities", reason)
          logger.warning("%s: no baselines on raw features of %s: %s", *what)
        else:
          scores |= fit(seen, task, sizes[task], own)
        said()
    for task in in_mean(dataset) if len(problems) > 1 else ():
      whole, *parts = (
        scores.get(Baseline("logistic", seen).score(task, "macro_accuracy"), np.nan)
        for seen, _ in problems
      )
      sis = float(metrics.relative_gain(whole, np.array(parts)))
      scores[Baseline("logistic").score(task, "sis")] = sis
    return scores

  def _cannot_fit(self, task: str, splits: Mapping[str, linear.Split]) -> str:
    """Says why no model can be fitted and scored; "": one can."""
    empty = [CALLED[name] for name, split in splits.items() if not len(split.labels)]
    if empty:
      return f"no {' and no '.join(empty)} example has any"
    if task not in self.dataset.tasks:
      return ""
    names = self.dataset.class_names.get(task)
    return linear.cannot_fit(splits["probe"].labels, names, hold_out=self._held_out)

  def _classes(self, seen, task, classes, splits) -> dict[str, float]:
    """Scores logistic regression and nearest neighbours."""
    train, val, test = (splits[name] for name in ("probe", "val", "test"))
    search = self.config.probe.test_search
    logistic = linear.evaluate(
      train, test, None if self._held_out else val, num_classes=classes, search=search
    )
    neighbors = knn.knn_accuracy(
      *train, *test, num_classes=classes, num_neighbors=self.config.probe.neighbors
    )
    return dict(_named(Baseline("logistic", seen), task, logistic)) | dict(
      _named(Baseline("knn", seen), task, neighbors)
    )

  def _several(self, seen, task, labels, splits) -> dict[str, float]:
    """Scores logistic regression and nearest neighbours of every label."""
    train, val, test = (splits[name] for name in ("probe", "val", "test"))
    search = self.config.probe.test_search
    logistic = multilabel.evaluate(
      train, test, None if self._held_out else val, num_labels=labels, search=search
    )
    votes = knn.label_votes(*train, test.features, num_neighbors=self.config.probe.neighbors)
    neighbors = multilabel.scores(votes - 0.5, test.labels)
    return dict(_named(Baseline("logistic", seen), task, logistic)) | dict(
      _named(Baseline("knn", seen), task, neighbors)
    )

  def _numbers(self, seen, task, outputs, splits) -> dict[str, float]:
    """Scores ridge regression."""
    train, val, test = (splits[name] for name in ("probe", "val", "test"))
    found = ridge.evaluate(train, test, val, num_outputs=outputs)
    return dict(_named(Baseline("ridge", seen), task, found))


def _most(labels: np.ndarray) -> int:
  """Returns the most frequent class; of equals the first."""
  return int(np.bincount(labels).argmax())


def _of_task(split: linear.Split, task: str) -> linear.Split:
  return linear.Split(split.features, split.labels[task])


def _named(
  baseline: Baseline, task: str, scores: Mapping[str, float]
) -> Iterator[tuple[str, float]]:
  return ((baseline.score(task, metric), float(value)) for metric, value in scores.items())
