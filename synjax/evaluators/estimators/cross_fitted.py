"""What classifiers predict for examples they were not fitted to."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from synjax.evaluators.estimators import broja, quantise

_NUM_FOLDS = 5
_NUM_TREES = 100
_NUM_COMPONENTS = 64
_SMALLEST = 1e-6  # a probability


def predict(features: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> np.ndarray:
  """Returns class probabilities of every example, from a classifier that has not seen it.

  Logistic regression on up to 64 principal components and extremely randomised trees on all features are
  fitted to four fifths of the examples and predict the last fifth, five times; the predictions whose
  codes (`predicted_codes`) tell more about the label are returned.

  Args:
    features: [examples, dim], finite.
    labels: int[examples], classes 0, 1, ..., C - 1, each at least 5 times.
    seed: of folds and trees.

  Returns:
    float64[examples, C], rows sum to 1.

  Raises:
    ValueError: a class has fewer examples than there are folds.
  """
  labels = np.asarray(labels)
  # Labels take no part in the components, so that these may be of all examples.
  reduced = quantise.components(features, _NUM_COMPONENTS)
  return max(
    (
      _out_of_fold(_logistic, reduced, labels, seed),
      _out_of_fold(_trees, np.asarray(features, np.float32), labels, seed),
    ),
    key=lambda found: told(found, labels),
  )


def product(first: np.ndarray, second: np.ndarray, labels: np.ndarray) -> np.ndarray:
  """Returns what two predictions say together if the inputs are independent given the label.

  p(y | x1, x2) is in proportion to p(y | x1) p(y | x2) / p(y): the best joint prediction where nothing
  is in both alone.

  Args:
    first: float[examples, C], probabilities.
    second: likewise.
    labels: int[examples].

  Returns:
    float64[examples, C], rows sum to 1.
  """
  prior = np.bincount(labels, minlength=first.shape[1]) / len(labels)
  logits = np.log(np.maximum(first, _SMALLEST)) + np.log(np.maximum(second, _SMALLEST))
  logits -= np.log(np.maximum(prior, _SMALLEST))
  found = np.exp(logits - logits.max(1, keepdims=True))
  return found / found.sum(1, keepdims=True)


def predicted_codes(probabilities: np.ndarray, max_codes: int, *, seed: int = 0) -> np.ndarray:
  """Turns predictions into codes: intervals of one probability, clusters of several.

  Args:
    probabilities: [examples, C].
    max_codes: how many codes at most.
    seed: of the clusters.

  Returns:
    int[examples].
  """
  if probabilities.shape[1] == 2:
    edges = np.quantile(probabilities[:, 1], np.arange(1, max_codes) / max_codes)
    return np.searchsorted(edges, probabilities[:, 1], side="right")
  # Distances of square roots are Hellinger's, for which small probabilities count.
  return quantise.codes(np.sqrt(probabilities), max_codes, seed=seed)


def told(probabilities: np.ndarray, labels: np.ndarray) -> float:
  """Returns the information of predictions' codes about the label, bits, less its bias.

  The bias of relative frequencies is (codes - 1) (classes - 1) / (2 n ln 2) (Miller, 1955).
  """
  codes = predicted_codes(probabilities, quantise.MAX_CODES)
  joint = np.zeros((codes.max() + 1, probabilities.shape[1]))
  np.add.at(joint, (codes, labels), 1)
  bias = (joint.shape[0] - 1) * (joint.shape[1] - 1) / (2 * len(labels) * np.log(2))
  return broja.information(joint / len(labels)) - float(bias)


def _out_of_fold(
  make: Callable[[int], Any], features: np.ndarray, labels: np.ndarray, seed: int
) -> np.ndarray:
  from sklearn.exceptions import ConvergenceWarning  # takes a second, and few need it
  from sklearn.model_selection import StratifiedKFold

  counts = np.bincount(labels)
  if counts.min() < _NUM_FOLDS:
    raise ValueError(
      f"pid: expected at least {_NUM_FOLDS} examples of each class to predict a fifth from the rest,"
      f" found {counts.min()} of class {counts.argmin()}; leave such classes out, or merge them"
    )
  found = np.empty((len(labels), len(counts)))
  folds = StratifiedKFold(_NUM_FOLDS, shuffle=True, random_state=seed)
  for fitted, others in folds.split(features, labels):
    with warnings.catch_warnings():
      # What stops early predicts too, and is judged by what it tells of examples it has not seen.
      warnings.simplefilter("ignore", ConvergenceWarning)
      classifier = make(seed).fit(features[fitted], labels[fitted])
    found[others] = classifier.predict_proba(features[others])
  return found


def _logistic(seed: int) -> Any:
  from sklearn.linear_model import LogisticRegression

  return LogisticRegression(C=1.0, max_iter=300, random_state=seed)


def _trees(seed: int) -> Any:
  from sklearn.ensemble import ExtraTreesClassifier

  return ExtraTreesClassifier(_NUM_TREES, min_samples_leaf=2, n_jobs=-1, random_state=seed)
