"""Scores of classifiers: accuracy, also of each source of the label, and calibration."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import log_softmax

from synjax.data.pipeline import Dataset, Split
from synjax.evaluators.base import Evaluator, Scores, When
from synjax.evaluators.estimators import knn, linear, metrics, multilabel
from synjax.evaluators.representation import NONE_HAS_ANY, check_neighbors
from synjax.workdir.scores import WITHOUT, Score

logger = logging.getLogger("synjax")

# Of `score`.
METRICS = ("accuracy", "macro_accuracy", "auroc", "cross_entropy", "calibration_error")
CALIBRATION_BINS = 15
_NATS = "cross_entropy"


class Classification(Evaluator):
  """Scores a classifier on the label it learned, "<split>/label/<metric>" of `score`.

  Of arrays with labels of other names it is "<split>/<task>/<metric>" (`Dataset.called`).

  Each evaluation is of the validation split, and with `config.evaluate_train` of the training split
  ("train_split/..."). From the end on it is of the test split; "accuracy" and "macro_accuracy" come there
  with the ends of their 95 % interval over test examples, "<metric>_low" and "<metric>_high".

  Of several labels an example the metrics are those of `multilabel.scores`, and there are no neighbours.

  With `config.data.irony` there are "macro_f1" and "irony_f1", of the class "irony", NaN without any.

  Stored data have there what `Representation` gives of other methods, by the same names:
  "test/label/knn_<metric>" of nearest neighbours by the classifier's representation
  (`config.probe.neighbors`), and "test/without_<modality>/label/<metric>" of the classifier itself where
  every example lacks a modality; an example of which nothing is left is left out, "label/left_out" says
  how many are.
  """

  name = "classification"
  when = frozenset(When)
  requires = ("logits",)

  def refusal(self, missing: list[str]) -> str:
    """Returns the message for a method that is no classifier."""
    del missing
    return (
      f"config.evaluators: {self.config.method.name} learns no labels, so that there is no"
      f" classification to score: expected ('representation',), found {tuple(self.config.evaluators)}"
    )

  def check(self) -> None:
    """Raises ValueError for a method that is no classifier, or neighbours that are none."""
    super().check()
    check_neighbors(self.config)

  def metric_names(self) -> set[str]:
    """Returns the names of what an evaluation scores."""
    splits = ("val", "train_split") if self.config.evaluate_train else ("val",)
    if self._several:
      metrics: tuple[str, ...] = (*multilabel.METRICS, _NATS)
      return {str(Score(split, self.dataset.called, m)) for split in splits for m in metrics}
    metrics = (*METRICS, *(f"{source}/accuracy" for source in self.dataset.sources))
    metrics += ("macro_f1", "irony_f1") if self.dataset.irony is not None else ()
    return {str(Score(split, self.dataset.called, m)) for split in splits for m in metrics}

  def chance(self) -> Mapping[str, float]:
    """Returns the chance level of the label."""
    level = multilabel.CHANCE if self._several else 1 / self.dataset.num_classes
    return {self.dataset.called: level}

  @property
  def _several(self) -> bool:
    """Says whether an example may have several labels."""
    return self.dataset.label_kind == "multilabel"

  def remarks(self) -> tuple[str, ...]:
    """Warns when there is nothing to learn from the training labels, which is easy to overlook."""
    train = self.dataset.train
    labels = (train.arrays if train.rows is None else train.rows.columns).get("label")
    if labels is None or self._several or len(np.unique(labels)) > 1:
      return ()
    return (
      f"every training label is {labels.flat[0]}: a classifier cannot learn from them. (On Trifeature's"
      " biased pairs config.data.task=synergy is always 1; set data.biased=false, or another task.)",
    )

  def run(self, frozen: Any, when: When) -> Scores:
    """Scores the class scores of a model."""
    if when is not When.EVALUATION:
      return self._test(frozen)
    scores = self._named("val", _score_split(self.dataset, self.dataset.val, frozen))
    if self.config.evaluate_train:
      train = _score_split(self.dataset, self.dataset.train, frozen)
      scores |= self._named("train_split", train)
    return scores

  def _test(self, frozen) -> dict[str, np.ndarray]:
    split = self.dataset.test
    logits, label = frozen.logits(split), frozen.field("label", split)
    scores = self._named("test", _score_split(self.dataset, split, frozen))
    alone = self.dataset.modalities if len(self.dataset.modalities) > 1 else ()
    if self._several:
      for missing in alone:
        found = self._without(frozen, missing, label)
        scores |= self._named("test", found, f"{WITHOUT}{missing}")
      return scores
    predicted = logits.argmax(-1)
    rows = [_as_probed(*trial) for trial in zip(logits, label, strict=True)]
    scores |= self._named("test", _stack(rows) | self._classes(predicted, frozen.seeds))
    if split.generate is None:
      scores |= self._named("test", self._neighbors(frozen))
      for missing in alone:
        scores |= self._named("test", self._without(frozen, missing, label), f"{WITHOUT}{missing}")
    return scores

  def _classes(self, predicted: np.ndarray, seeds: Sequence[int]) -> dict[str, np.ndarray]:
    """Counts the classes that each trial predicts, and says who predicts but one."""
    counts = np.array([float(len(np.unique(own))) for own in predicted])
    alone = [str(seed) for seed, count in zip(seeds, counts, strict=True) if count == 1]
    if alone and predicted.shape[1] > 1:
      logger.warning(
        "the classifier of seed %s predicts one class for all test examples", ", ".join(alone)
      )
    return {"predicted_classes": counts}

  def _neighbors(self, frozen) -> dict[str, np.ndarray]:
    """Scores nearest neighbours of the test split in the probe split, "knn_<metric>"."""
    sides = []
    for split in (self.dataset.probe, self.dataset.test):
      having = split.having(self.dataset.modalities)
      having = slice(None) if having is None else having
      sides += [frozen.embed(split)[:, having], frozen.field("label", split)[:, having]]
    if not all(side.shape[1] for side in sides):
      return {}
    sizes = {"num_neighbors": self.config.probe.neighbors, "num_classes": self.dataset.num_classes}
    found = _stack([knn.knn_accuracy(*trial, **sizes) for trial in zip(*sides, strict=True)])
    return {f"knn_{metric}": values for metric, values in found.items()}

  def _without(self, frozen, missing: str, label: np.ndarray) -> dict[str, np.ndarray]:
    """Scores the test split as if no example had a modality."""
    split = self.dataset.test
    left = tuple(name for name in self.dataset.modalities if name != missing)
    logits, having = frozen.logits(split, left), split.having(left)
    if having is None or having.all():
      return _stack([self._seen(*trial) for trial in zip(logits, label, strict=True)])
    counts = np.full(len(logits), float((~having).sum()))
    if not having.any():
      logger.warning(NONE_HAS_ANY, " and ".join(left), f"{len(having)} test")
      metrics = (*multilabel.METRICS, _NATS) if self._several else METRICS
      return {"left_out": counts} | dict.fromkeys(metrics, np.nan * counts)
    rows = [self._seen(*trial) for trial in zip(logits[:, having], label[:, having], strict=True)]
    return {"left_out": counts} | _stack(rows)

  def _named(
    self, split: str, scores: Mapping[str, np.ndarray], seen: str = ""
  ) -> dict[str, np.ndarray]:
    called = self.dataset.called
    return {str(Score(split, called, metric, seen)): value for metric, value in scores.items()}

  def _seen(self, logits: np.ndarray, label: np.ndarray) -> dict[str, float]:
    """Scores one trial that sees some of the modalities."""
    if self._several:
      return score_several(logits, label)
    return score(logits, label) | _as_probed(logits, label)


def _stack(rows: Sequence[Mapping[str, float]]) -> dict[str, np.ndarray]:
  """Returns metric -> [trials] of every trial's metrics."""
  return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def _as_probed(logits: np.ndarray, label: np.ndarray) -> dict[str, float]:
  """Returns what a linear probe of the test split has beside `score`: intervals, and the best five."""
  return intervals(logits.argmax(-1), label) | linear.top_accuracy(logits, label)


def intervals(predicted: np.ndarray, label: np.ndarray) -> dict[str, float]:
  """Returns the ends of the 95 % intervals of accuracy and macro accuracy, over examples."""
  low, high = metrics.fraction_interval(np.mean(predicted == label), len(label))
  macro_low, macro_high = metrics.macro_accuracy_interval(predicted, label)
  return {
    "accuracy_low": float(low),
    "accuracy_high": float(high),
    "macro_accuracy_low": macro_low,
    "macro_accuracy_high": macro_high,
  }


def score(
  logits: np.ndarray,
  label: np.ndarray,
  source: np.ndarray | None = None,
  sources: tuple[str, ...] = (),
) -> dict[str, float]:
  """Scores one trial's class scores.

  Args:
    logits: [examples, classes].
    label: int[examples].
    source: int[examples], index into `sources`; None: not known.
    sources: their names.

  Returns:
    "accuracy" and "macro_accuracy" as fractions, "auroc" (one class against the rest; NaN of one class),
    "cross_entropy" in nats, "calibration_error" (expected calibration error over 15 equal bins of
    confidence, a fraction), and "<source>/accuracy" of the sources that occur.
  """
  log_probs = log_softmax(logits.astype(np.float64), axis=-1)
  correct, classes = logits.argmax(-1) == label, np.unique(label)
  scores = {
    "accuracy": correct.mean(),
    "macro_accuracy": np.mean([correct[label == c].mean() for c in classes]),
    "auroc": np.nan if len(classes) < 2 else metrics.auroc(np.exp(log_probs), label),
    "cross_entropy": -np.take_along_axis(log_probs, label[:, None], 1).mean(),
    "calibration_error": calibration_error(np.exp(log_probs.max(-1)), correct),
  }
  for i, name in enumerate(sources):
    if (source == i).any():
      scores[f"{name}/accuracy"] = correct[source == i].mean()
  return {name: float(value) for name, value in scores.items()}


def score_several(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Returns `multilabel.scores` of one trial, and "cross_entropy": nats a label, mean over all labels.

  Args:
    logits: [examples, labels].
    labels: int[examples, labels] of 0 and 1.
  """
  wide = logits.astype(np.float64)
  nats = np.logaddexp(0, np.where(labels > 0, -wide, wide)).mean()
  return multilabel.scores(logits, labels) | {_NATS: float(nats)}


def calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
  """Returns the expected calibration error: sum over bins of share |accuracy - mean confidence|.

  Args:
    confidence: [examples], probability of the predicted class.
    correct: bool[examples].
  """
  bins = np.minimum((confidence * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
  gaps = [
    abs(correct[bins == b].sum() - confidence[bins == b].sum()) for b in range(CALIBRATION_BINS)
  ]
  return float(sum(gaps) / len(correct))


def _score_split(dataset: Dataset, split: Split, frozen) -> dict[str, np.ndarray]:
  """Scores every trial on a split: metric -> [trials]; NaN for a source that a trial lacks."""
  logits, label = frozen.logits(split), frozen.field("label", split)
  if dataset.label_kind == "multilabel":
    return _stack([score_several(*trial) for trial in zip(logits, label, strict=True)])
  source = frozen.field("source", split) if dataset.sources else label
  rows = [score(*trial, dataset.sources) for trial in zip(logits, label, source, strict=True)]
  if dataset.irony is not None:
    pairs = zip(rows, logits.argmax(-1), label, strict=True)
    rows = [row | f1(predicted, own, dataset.irony) for row, predicted, own in pairs]
  names = [*rows[0], *(f"{source}/accuracy" for source in dataset.sources)]
  return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def f1(predicted: np.ndarray, label: np.ndarray, irony: int) -> dict[str, float]:
  """Returns "macro_f1" over the classes that occur, and "irony_f1", of the last class, `irony`."""
  found = metrics.f1_scores(predicted, label, irony + 1)
  return {"macro_f1": float(np.nanmean(found)), "irony_f1": float(found[irony])}
