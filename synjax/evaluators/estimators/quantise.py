"""Vectors to codes: what a decomposition of discrete variables needs."""

import numpy as np

from synjax.evaluators.estimators import kmeans

_EXAMPLES_PER_CELL = 5  # at least, of (x1, x2, label): fewer and bias is most of what is reported
MAX_CODES = 12
_MAX_COMPONENTS = 64  # of a vector that is clustered: distances in more are noise, and slow


def affordable(num_examples: int, num_classes: int) -> int:
  """Returns how many codes a modality may have: k^2 C <= examples / 5, in [2, MAX_CODES]."""
  found = int((num_examples / (_EXAMPLES_PER_CELL * num_classes)) ** 0.5)
  return min(MAX_CODES, max(2, found))


def codes(
  features: np.ndarray, max_codes: int, *, max_distinct: int = 0, seed: int = 0
) -> np.ndarray:
  """Turns vectors into codes: the distinct ones where these are few, else clusters.

  Args:
    features: [examples, dim], finite.
    max_codes: how many clusters, and how many distinct vectors are kept as they are.
    max_distinct: keeps distinct vectors up to this number too, without which data that are codes
      already would be clustered.
    seed: of the clusters' first centres.

  Returns:
    int[examples] in [0, number of codes).

  Raises:
    ValueError: `features` is no finite matrix.
  """
  features = np.asarray(features)
  if features.ndim != 2 or not len(features) or not np.isfinite(features).all():
    raise ValueError(
      f"pid: expected finite features [examples, dim], found {features.dtype} of shape"
      f" {list(features.shape)}"
    )
  values, number = np.unique(features, axis=0, return_inverse=True)
  if len(values) <= max(max_codes, max_distinct):
    return number.reshape(-1)
  return kmeans.assign(components(features, _MAX_COMPONENTS), max_codes, seed=seed)


def components(features: np.ndarray, count: int) -> np.ndarray:
  """Returns standardised features, or the first principal components of more than `count`.

  Args:
    features: [examples, dim].
    count: of components to keep.

  Returns:
    float64[examples, min(dim, count)].
  """
  features = np.asarray(features, np.float64)
  features = features - features.mean(0)
  deviation = features.std(0)
  features = features / np.where(deviation > 0, deviation, 1)
  if features.shape[1] <= count:
    return features
  _, vectors = np.linalg.eigh(features.T @ features)
  return features @ vectors[:, : -count - 1 : -1]
