"""Features that give a label away: its copies, those in its order, those that tell all classes apart."""

import math

import numpy as np

_CHECKED_FIRST = 1024  # examples: features that survive are checked on all
_ENOUGH = 8  # examples of one value, below which a feature may follow the label by chance
_ENOUGH_RANKED = 64  # examples, below which a feature near the label may be in its order
_UNLIKELY = 0.01  # features that follow the label by chance


def copies(array: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Finds the features that are the label in another form.

  Of classes: features that have one value in every class, and not the same one in all of them, such as
  the columns of a one-hot label. Of numbers: affine functions of an output and, of 64 examples on,
  monotone ones. Features of which a value has fewer than 8 examples are left out, for they may follow the
  label by chance, unless all do.

  Args:
    array: [examples, ...], without NaN.
    label: int[examples], or float[examples, outputs].

  Returns:
    Indices of the features, in the order of the flattened array.
  """
  flat = array.reshape(len(array), -1)
  is_copy = _follows_classes if label.ndim == 1 else _follows_numbers
  first = flat[:_CHECKED_FIRST], label[:_CHECKED_FIRST]
  candidates = np.flatnonzero(is_copy(*first))
  found = candidates[is_copy(flat[:, candidates], label)] if len(candidates) else candidates
  varying = int((flat[:_CHECKED_FIRST] != flat[0]).any(axis=0).sum())
  if len(found) >= varying:
    return found if len(flat) >= _ENOUGH else found[:0]
  enough = [np.unique(flat[:, f], return_counts=True)[1].min() >= _ENOUGH for f in found]
  return found[enough] if label.ndim == 1 else found


def in_order(array: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Finds the features that rank fewer than 64 examples as an output does, or the other way.

  A feature near the label may do so, but none by chance: for that there are too few orders of fewer than
  8 different outputs, or of many features.

  Args:
    array: [examples, ...], without NaN.
    label: float[examples, outputs].

  Returns:
    Indices of the features, in the order of the flattened array; of more examples see `copies`.
  """
  flat = array.reshape(len(array), -1)
  distinct = min(len(np.unique(output)) for output in label.T)
  by_chance = 2 * flat.shape[1] * label.shape[1] / math.factorial(distinct)
  if not _ENOUGH <= distinct <= len(flat) < _ENOUGH_RANKED or by_chance > _UNLIKELY:
    return np.zeros(0, int)
  return np.flatnonzero(_rank_alike(flat, label))


def separators(array: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Finds the features that tell all classes apart: the values of one class lie all beyond another's.

  Classes with fewer than 8 examples make none, for there it may be chance.

  Args:
    array: [examples, ...], without NaN.
    label: int[examples].

  Returns:
    Indices of the features, in the order of the flattened array.
  """
  flat, (values, counts) = array.reshape(len(array), -1), np.unique(label, return_counts=True)
  if len(values) < 2 or counts.min() < _ENOUGH:
    return np.zeros(0, int)
  first = _separate(flat[:_CHECKED_FIRST], label[:_CHECKED_FIRST])
  candidates = np.flatnonzero(first)
  return candidates[_separate(flat[:, candidates], label)]


def is_one_hot_in_noise(array: np.ndarray, label: np.ndarray) -> bool:
  """Says whether every class has a column of its own that is higher for it than for all the others.

  Args:
    array: [examples, ...], without NaN.
    label: int[examples].
  """
  values, counts = np.unique(label, return_counts=True)
  if array.ndim != 2 or array.shape[1] != len(values) or counts.min() < _ENOUGH:
    return False
  above = np.array([array[label == k].min(axis=0) > array[label != k].max(axis=0) for k in values])
  return bool(above.any(axis=0).all() and above.any(axis=1).all())


def _separate(flat: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Says of which features the ranges of the classes do not overlap, bool[features]."""
  parts = [flat[label == k] for k in np.unique(label)]
  low, high = np.array([p.min(axis=0) for p in parts]), np.array([p.max(axis=0) for p in parts])
  order = low.argsort(axis=0)
  low, high = (np.take_along_axis(bound, order, axis=0) for bound in (low, high))
  return (high[:-1] < low[1:]).all(axis=0)


def _follows_classes(flat: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Says which features have one value in every class, but not over all; bool[features]."""
  same = np.ones(flat.shape[1], bool)
  for k in np.unique(label):
    own = flat[label == k]
    same &= (own == own[0]).all(axis=0)
  return same & (flat != flat[0]).any(axis=0)


def _follows_numbers(flat: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Says which features are a function of an output, affine or monotone; bool[features]."""
  if len(flat) < _ENOUGH:
    return np.zeros(flat.shape[1], bool)
  return (_correlation(flat, label) > 1 - 1e-9) | _are_in_order(flat, label)


def _are_in_order(flat: np.ndarray, label: np.ndarray) -> np.ndarray:
  """Says which features rank the examples as an output does, or the other way; bool[features].

  Spearman's correlation, of a few examples first. Almost 1: float32 makes neighbours alike.
  """
  found = np.zeros(flat.shape[1], bool)
  if len(flat) < _ENOUGH_RANKED:
    return found
  candidates = np.arange(flat.shape[1])
  for rows in (slice(None, None, len(flat) // _ENOUGH_RANKED), slice(None)):
    candidates = candidates[_rank_alike(flat[rows][:, candidates], label[rows])]
  found[candidates] = True
  return found


def _rank_alike(flat: np.ndarray, label: np.ndarray) -> np.ndarray:
  from scipy import stats  # takes two seconds to import, and few datasets are regressions

  return _correlation(*(stats.rankdata(part, axis=0) for part in (flat, label))) > 1 - 1e-6


def _correlation(x: np.ndarray, y: np.ndarray) -> np.ndarray:
  """Returns the largest |Pearson correlation| of each column of x with one of y, float64[features]."""
  x, y = (_standardize(part.astype(np.float64)) for part in (x, y))
  return (np.abs(x.T @ y) / len(x)).max(axis=1)


def _standardize(values: np.ndarray) -> np.ndarray:
  centred = values - values.mean(axis=0)
  return centred / np.maximum(centred.std(axis=0), np.finfo(float).tiny)
