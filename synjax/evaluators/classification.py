"""Scores of classifiers: accuracy, per source of the label, calibration, and the synergy subset."""

from collections.abc import Mapping

import numpy as np
from scipy.special import log_softmax

from synjax.data.pipeline import Dataset, Split
from synjax.evaluators.estimators import metrics
from synjax.methods.base import Method

TASK = "label"
METRICS = ("accuracy", "macro_accuracy", "cross_entropy", "calibration_error")  # of `score`
CALIBRATION_BINS = 15
PERMUTATIONS = 1000


def tasks(dataset: Dataset) -> Mapping[str, int]:
  """Returns task -> number of classes of what is scored: the label the classifier learned."""
  return {TASK: dataset.num_classes}


def check(config, dataset: Dataset, method: Method) -> None:
  """Raises ValueError when a method is no classifier."""
  del dataset
  if type(method).logits is Method.logits:
    raise ValueError(
      f"config.evaluators: {config.method.name} learns no labels, so that there is no classification to"
      f" score: expected ('representation',), found {tuple(config.evaluators)}"
    )


def metric_names(config, dataset: Dataset) -> set[str]:
  """Returns the names of what `validate` scores."""
  splits = ("val", "train_split") if config.evaluate_train else ("val",)
  metrics = (*METRICS, *(f"{source}/accuracy" for source in dataset.sources))
  return {f"{split}/{TASK}/{metric}" for split in splits for metric in metrics}


def validate(config, dataset: Dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the validation split, and with `config.evaluate_train` the training split.

  Args:
    config: the run's config.
    dataset: the `Dataset`.
    frozen: `predict.Frozen`.

  Returns:
    "val/label/<metric>" (and "train_split/label/<metric>") -> [trials], see `score`.
  """
  scores = _named("val", _score_split(dataset, dataset.val, frozen))
  if config.evaluate_train:
    scores |= _named("train_split", _score_split(dataset, dataset.train, frozen))
  return scores


def test(config, dataset: Dataset, frozen) -> dict[str, np.ndarray]:
  """Scores the test split: "test/label/<metric>" -> [trials], see `score`.

  "accuracy" and "macro_accuracy" come with the ends of their 95 % interval over test examples,
  "<metric>_low" and "<metric>_high".
  """
  del config
  logits, label = frozen.logits(dataset.test), frozen.field("label", dataset.test)
  scores = _named("test", _score_split(dataset, dataset.test, frozen))
  rows = [_intervals(*trial) for trial in zip(logits.argmax(-1), label, strict=True)]
  return scores | _named("test", {name: np.array([row[name] for row in rows]) for name in rows[0]})


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


def synergy_subset(
  logits: np.ndarray, unimodal_logits: np.ndarray, label: np.ndarray, *, seed: int = 0
) -> dict[str, float]:
  """Scores the examples that every unimodal model gets wrong, and the other groups.

  With two classes random labels score one half on this subset, and so does anything that ignores the
  unimodal models: compare with chance, with what permuted labels score, and with `flipped`, the accuracy
  there of the opposite of the unimodal models' mean vote (SynIB, Sec. 5; docs/spec/synib.md 5.4).
  An example is judged by the models of the modalities it has, and without any it is in no group.

  Args:
    logits: [examples, classes] of the fused model.
    unimodal_logits: [examples, modalities, classes] of separately trained unimodal models; NaN where
      the example lacks the modality.
    label: int[examples].
    seed: of the permutations.

  Returns:
    "synergy_subset/<metric>": "size" (examples), "accuracy" (NaN when empty) with its 95 % interval over
    examples "accuracy_low" and "accuracy_high" (Wilson), "chance" (one over the number of classes),
    "permuted" (mean accuracy when the labels of the subset are permuted among its examples) and the
    2.5 % and 97.5 % quantiles of 1,000 permutations, "permuted_low" and "permuted_high": an accuracy
    between them is what predictions give that have nothing to do with the labels; and "flipped". Where
    some or all unimodal models are right, "some_right/accuracy" and "all_right/accuracy".
  """
  predicted, classes = logits.argmax(-1), logits.shape[-1]
  correct = predicted == label
  known = ~np.isnan(unimodal_logits).any(axis=-1)
  right = known & (unimodal_logits.argmax(-1) == label[:, None])
  all_right = (right | ~known).all(axis=1) & known.any(axis=1)
  subset = ~right.any(axis=1) & known.any(axis=1)
  total = np.where(known[..., None], unimodal_logits, 0).sum(axis=1)
  opposite = total.argmin(-1) == label

  def mean(values, where):
    return float(values[where].mean()) if where.any() else float("nan")

  low, high = metrics.fraction_interval(mean(correct, subset), subset.sum())
  found = {
    "accuracy": mean(correct, subset),
    "accuracy_low": float(low),
    "accuracy_high": float(high),
    "size": float(subset.sum()),
    "chance": 1 / classes,
    **_permuted(predicted[subset], label[subset], seed),
    "flipped": mean(opposite, subset),
  }
  return {f"synergy_subset/{name}": value for name, value in found.items()} | {
    "some_right/accuracy": mean(correct, right.any(axis=1) & ~all_right),
    "all_right/accuracy": mean(correct, all_right),
  }


def _permuted(predicted: np.ndarray, label: np.ndarray, seed: int) -> dict[str, float]:
  """Returns mean and 95 % interval of the accuracy under permutations of the labels; NaN of nothing."""
  names = ("permuted", "permuted_low", "permuted_high")
  if not len(label):
    return dict.fromkeys(names, float("nan"))
  rng = np.random.default_rng(seed)
  found = [np.mean(predicted == rng.permutation(label)) for _ in range(PERMUTATIONS)]
  values = (np.mean(found), *np.quantile(found, (0.025, 0.975)))
  return dict(zip(names, map(float, values), strict=True))


def _score_split(dataset: Dataset, split: Split, frozen) -> dict[str, np.ndarray]:
  """Scores every trial on a split: metric -> [trials]; NaN for a source that a trial lacks."""
  logits, label = frozen.logits(split), frozen.field("label", split)
  source = frozen.field("source", split) if dataset.sources else label
  rows = [score(*trial, dataset.sources) for trial in zip(logits, label, source, strict=True)]
  names = [*rows[0], *(f"{source}/accuracy" for source in dataset.sources)]
  return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}


def _named(prefix: str, scores: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
  return {f"{prefix}/{TASK}/{name}": value for name, value in scores.items()}
