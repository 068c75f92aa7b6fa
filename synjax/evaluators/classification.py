"""Scores of classifiers: accuracy, also of each source of the label, and calibration."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.special import log_softmax

from synjax.data.pipeline import Dataset, Split
from synjax.evaluators.base import Evaluator, Scores, When
from synjax.evaluators.estimators import metrics
from synjax.workdir.scores import Score

TASK = "label"
METRICS = ("accuracy", "macro_accuracy", "cross_entropy", "calibration_error")  # of `score`
CALIBRATION_BINS = 15


class Classification(Evaluator):
  """Scores a classifier on the label it learned, "<split>/label/<metric>" of `score`.

  Each evaluation is of the validation split, and with `config.evaluate_train` of the training split
  ("train_split/..."). From the end on it is of the test split; "accuracy" and "macro_accuracy" come there
  with the ends of their 95 % interval over test examples, "<metric>_low" and "<metric>_high".
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

  def metric_names(self) -> set[str]:
    """Returns the names of what an evaluation scores."""
    splits = ("val", "train_split") if self.config.evaluate_train else ("val",)
    metrics = (*METRICS, *(f"{source}/accuracy" for source in self.dataset.sources))
    return {str(Score(split, TASK, metric)) for split in splits for metric in metrics}

  def chance(self) -> Mapping[str, float]:
    """Returns the chance level of the label."""
    return {TASK: 1 / self.dataset.num_classes}

  def remarks(self) -> tuple[str, ...]:
    """Warns when there is nothing to learn from the training labels, which is easy to overlook."""
    train = self.dataset.train
    labels = (train.arrays if train.rows is None else train.rows.columns).get("label")
    if labels is None or len(np.unique(labels)) > 1:
      return ()
    return (
      f"every training label is {labels.flat[0]}: a classifier cannot learn from them. (On Trifeature's"
      " biased pairs config.data.task=synergy is always 1; set data.biased=false, or another task.)",
    )

  def run(self, frozen: Any, when: When) -> Scores:
    """Scores the class scores of a model."""
    if when is not When.EVALUATION:
      return self._test(frozen)
    scores = _named("val", _score_split(self.dataset, self.dataset.val, frozen))
    if self.config.evaluate_train:
      train = _score_split(self.dataset, self.dataset.train, frozen)
      scores |= _named("train_split", train)
    return scores

  def _test(self, frozen) -> dict[str, np.ndarray]:
    split = self.dataset.test
    logits, label = frozen.logits(split), frozen.field("label", split)
    scores = _named("test", _score_split(self.dataset, split, frozen))
    rows = [_intervals(*trial) for trial in zip(logits.argmax(-1), label, strict=True)]
    return scores | _named(
      "test", {name: np.array([row[name] for row in rows]) for name in rows[0]}
    )


def _intervals(predicted: np.ndarray, label: np.ndarray) -> dict[str, float]:
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
    "accuracy" and "macro_accuracy" as fractions, "cross_entropy" in nats, "calibration_error" (expected
    calibration error over 15 equal bins of confidence, a fraction), and "<source>/accuracy" of the
    sources that occur.
  """
  log_probs = log_softmax(logits.astype(np.float64), axis=-1)
  correct = logits.argmax(-1) == label
  scores = {
    "accuracy": correct.mean(),
    "macro_accuracy": np.mean([correct[label == c].mean() for c in np.unique(label)]),
    "cross_entropy": -np.take_along_axis(log_probs, label[:, None], 1).mean(),
    "calibration_error": calibration_error(np.exp(log_probs.max(-1)), correct),
  }
  for i, name in enumerate(sources):
    if (source == i).any():
      scores[f"{name}/accuracy"] = correct[source == i].mean()
  return {name: float(value) for name, value in scores.items()}


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
  source = frozen.field("source", split) if dataset.sources else label
  rows = [score(*trial, dataset.sources) for trial in zip(logits, label, source, strict=True)]
  names = [*rows[0], *(f"{source}/accuracy" for source in dataset.sources)]
  return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _named(split: str, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {str(Score(split, TASK, metric)): value for metric, value in scores.items()}
