"""Scores of whole splits: NumPy arrays on the host, float64, fractions in [0, 1]."""

import numpy as np
import scipy.special


def accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Computes the fraction of examples predicted correctly.

  Args:
    predictions: predicted classes `[examples]`.
    labels: true classes `[examples]`.

  Returns:
    A fraction.

  Raises:
    ValueError: the shapes differ, or there are no examples.
  """
  predictions, labels = _check("accuracy", predictions, labels)
  return float(np.mean(predictions == labels))


def macro_accuracy(predictions: np.ndarray, labels: np.ndarray) -> float:
  """Computes macro accuracy, the mean over classes of the recall (= balanced accuracy).

  `mean_c #{i: prediction_i = label_i = c} / #{i: label_i = c}` over the classes c that occur in
  `labels`; a constant classifier scores 1 / classes. The "acc1" of the published tables. (Its
  library counts a class that is predicted but never occurs as recall 0; here it is left out, as in
  scikit-learn's balanced accuracy.)

  Args:
    predictions: predicted classes `[examples]`.
    labels: true classes `[examples]`, not negative.

  Returns:
    A fraction.

  Raises:
    ValueError: the shapes differ, or there are no examples.

  Source: docs/spec/infmasking.md 9.
  """
  recall, _ = _class_recall("macro_accuracy", predictions, labels)
  return float(recall.mean())


def macro_accuracy_interval(
  predictions: np.ndarray, labels: np.ndarray, *, confidence: float = 0.95
) -> tuple[float, float]:
  """Computes a confidence interval of macro accuracy for the sampling of the test examples.

  The recalls of the C classes are independent binomial fractions p_c, each with a Wilson interval
  (l_c, u_c); that of their mean is `mean - sqrt(sum_c (p_c - l_c)^2) / C` to
  `mean + sqrt(sum_c (u_c - p_c)^2) / C` (MOVER). Unlike a normal interval it has a width where
  recalls are exactly 0 or 1. It does not contain the spread over training seeds.

  Args:
    predictions: predicted classes `[examples]`.
    labels: true classes `[examples]`, not negative.
    confidence: probability of covering the value, in (0, 1).

  Returns:
    Lower and upper end, fractions.

  Raises:
    ValueError: the shapes differ, there are no examples, or `confidence` is not in (0, 1).

  Source: Zou & Donner (2008), Statistics in Medicine 27:1693.
  """
  if not 0 < confidence < 1:
    raise ValueError(f"macro_accuracy_interval: confidence must be in (0, 1): {confidence}.")
  recall, count = _class_recall("macro_accuracy_interval", predictions, labels)
  low, high = fraction_interval(recall, count, confidence=confidence)
  below, above = (np.sqrt(np.sum(d**2)) / len(recall) for d in (recall - low, high - recall))
  return float(max(recall.mean() - below, 0.0)), float(min(recall.mean() + above, 1.0))


def f1_scores(predicted: np.ndarray, label: np.ndarray, num_classes: int) -> np.ndarray:
  """Returns F1 = 2 TP / (2 TP + FP + FN) of every class [num_classes]; NaN of one without examples.

  (The published code counts such a class as 0; all of its classes have examples.)

  Args:
    predicted: int[examples].
    label: int[examples].
    num_classes: of them; the macro F1 is the mean over those that occur in `label`.
  """
  classes = np.arange(num_classes)[:, None]
  said, is_one = predicted == classes, label == classes
  both = (said & is_one).sum(axis=1)
  count = is_one.sum(axis=1)
  return np.where(count, 2 * both / np.maximum(said.sum(axis=1) + count, 1), np.nan)


def fraction_interval(
  fraction: np.ndarray, count: np.ndarray, *, confidence: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
  """Computes Wilson's confidence interval of binomial fractions.

  Args:
    fraction: observed, of any shape.
    count: observations each is of, of the same shape; 0 gives NaN.
    confidence: probability of covering the value, in (0, 1).

  Returns:
    Lower and upper ends, fractions.
  """
  z = normal_quantile(0.5 + confidence / 2)
  fraction, count = np.asarray(fraction, float), np.where(np.asarray(count) > 0, count, np.nan)
  centre = (fraction + z**2 / (2 * count)) / (1 + z**2 / count)
  width = z / (1 + z**2 / count) * np.sqrt(fraction * (1 - fraction) / count + (z / count) ** 2 / 4)
  # The ends are exact where all or nothing was observed, but for rounding.
  return np.clip(centre - width, 0.0, fraction), np.clip(centre + width, fraction, 1.0)


def accuracies(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Computes the accuracies of predicted classes [examples].

  Returns:
    `macro_accuracy`, the ends of its 95 % interval `macro_accuracy_low` and `macro_accuracy_high`, and
    `accuracy`, fractions.

  Raises:
    ValueError: the shapes differ, or there are no examples.
  """
  low, high = macro_accuracy_interval(predictions, labels)
  return {
    "macro_accuracy": macro_accuracy(predictions, labels),
    "macro_accuracy_low": low,
    "macro_accuracy_high": high,
    "accuracy": accuracy(predictions, labels),
  }


def relative_gain(whole: np.ndarray, parts: np.ndarray) -> np.ndarray:
  """Computes SIS = (whole - best part) / best part, how much more all modalities score than the best one.

  Args:
    whole: score with all modalities, higher is better, of any shape.
    parts: scores with each modality alone, [modalities, ...].

  Returns:
    A fraction of the shape of `whole`; NaN where the best part scores 0. Below 0 all together score less
    than one of them.

  Source: the Synergistic Information Score [@richter2026beyond] with a score in place of the mutual
  information. It is no evidence of synergy by itself: two modalities with unique information also score
  more than one.
  """
  best = np.max(parts, axis=0)
  return (whole - best) / np.where(best == 0, np.nan, best)


def top_k_accuracy(scores: np.ndarray, labels: np.ndarray, *, k: int) -> float:
  """Computes the fraction of examples whose label is among the k highest scores.

  Ties count against the label only where the tied class has the lower index (argmax order), so that
  k = 1 is the accuracy of `argmax`; with k at least the number of classes it is 1.

  Args:
    scores: logits or probabilities `[examples, classes]`.
    labels: true classes `[examples]`, in [0, classes).
    k: number of guesses, at least 1.

  Returns:
    A fraction.

  Raises:
    ValueError: the shapes do not fit, a label is out of range, or `k` is below 1.
  """
  if k < 1:
    raise ValueError(f"top_k_accuracy: k must be at least 1: {k}.")
  scores, labels = _check_scores("top_k_accuracy", scores, labels)
  own = np.take_along_axis(scores, labels[:, None], axis=1)
  earlier = np.arange(scores.shape[1]) < labels[:, None]
  rank = np.sum((scores > own) | ((scores == own) & earlier), axis=1)
  return float(np.mean(rank < k))


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
  """Computes the area under the ROC curve, one class against the rest, averaged over classes.

  For class c the area is the probability that an example of c scores higher in column c than an
  example of another class, ties counting half (the Mann-Whitney statistic from mid-ranks). Classes
  that do not occur have no area and are left out. Columns of different examples are compared, so
  `scores` must be on one scale across examples: probabilities, not logits.

  Args:
    scores: probabilities `[examples, classes]`.
    labels: true classes `[examples]`, in [0, classes).

  Returns:
    The unweighted mean over classes, in [0, 1]; 0.5 is chance.

  Raises:
    ValueError: the shapes do not fit, a label is out of range, a score is NaN, or only one class
      occurs.

  Source: docs/spec/infmasking.md 9 ("multiclass AUROC"); equals scikit-learn's
  `roc_auc_score(multi_class="ovr")`, which however refuses absent classes.
  """
  scores, labels = _check_scores("auroc", scores, labels)
  if np.isnan(scores).any():
    raise ValueError("auroc: the scores contain NaN.")
  present = np.unique(labels)
  if len(present) < 2:
    raise ValueError(f"auroc: needs at least two classes among the labels, found only {present}.")
  areas = []
  for c in present:
    positive = labels == c
    num_positive = positive.sum()
    num_negative = len(labels) - num_positive
    rank_sum = _mid_ranks(scores[:, c])[positive].sum()
    wins = rank_sum - num_positive * (num_positive + 1) / 2
    areas.append(wins / (num_positive * num_negative))
  return float(np.mean(areas))


def probabilities(logits: np.ndarray) -> np.ndarray:
  """Computes the softmax over the last axis in float64, where confident scores are not yet ties."""
  return scipy.special.softmax(np.asarray(logits, np.float64), axis=-1)


def normal_quantile(probability: float) -> float:
  """Returns the quantile of the standard normal distribution."""
  return float(scipy.special.ndtri(probability))  # `scipy.stats` takes two seconds to import


def _mid_ranks(values: np.ndarray) -> np.ndarray:
  """Returns the rank of each value, from 1; equal ones share the mean of theirs."""
  _, position, counts = np.unique(values, return_inverse=True, return_counts=True)
  return (np.cumsum(counts) - (counts - 1) / 2)[position]


def _class_recall(name, predictions, labels) -> tuple[np.ndarray, np.ndarray]:
  """Recall and number of examples of the classes that occur."""
  predictions, labels = _check(name, predictions, labels)
  count = np.bincount(labels)
  correct = np.bincount(labels[predictions == labels], minlength=len(count))
  present = count > 0
  return correct[present] / count[present], count[present]


def _check(name, predictions, labels) -> tuple[np.ndarray, np.ndarray]:
  predictions, labels = np.asarray(predictions), np.asarray(labels)
  if predictions.shape != labels.shape or labels.ndim != 1 or not len(labels):
    raise ValueError(
      f"{name}: expected predicted and true classes, both [examples] and not empty, found "
      f"{predictions.shape} and {labels.shape}; take the argmax of scores first."
    )
  return predictions, labels


def _check_scores(name, scores, labels) -> tuple[np.ndarray, np.ndarray]:
  scores, labels = np.asarray(scores), np.asarray(labels)
  if scores.ndim != 2 or scores.shape[:1] != labels.shape or not len(labels):
    raise ValueError(
      f"{name}: expected scores [examples, classes] and labels [examples], not empty, found "
      f"{scores.shape} and {labels.shape}."
    )
  if labels.min() < 0 or labels.max() >= scores.shape[1]:
    raise ValueError(
      f"{name}: labels must be in [0, {scores.shape[1]}), found {labels.min()}..{labels.max()}."
    )
  return scores, labels
