"""Features of a user's vectors and sequences, standardised by what the training examples are."""

from collections.abc import Mapping, Sequence

import numpy as np

# modality -> {"mean": [features], "deviation": [features]}, as a workdir holds it
Statistics = Mapping[str, Mapping[str, Sequence[float]]]
LARGEST = 1e6  # deviations: a stray value beyond is cut off, as `clean` does everywhere


def real_rows(array: np.ndarray, found: Mapping[str, np.ndarray], name: str) -> np.ndarray:
  """Says what of a modality is data: bool[examples], of sequences bool[examples, length].

  Args:
    array: [examples, (length,) features].
    found: `<name>_present` bool[examples] and `<name>_length` int[examples], where there are such.
    name: of the modality.

  Returns:
    False where an example lacks the modality, and for the steps of its padding.
  """
  real = np.array(found.get(f"{name}_present", np.ones(len(array), bool)))
  if array.ndim == 2:
    return real
  lengths = found.get(f"{name}_length", np.full(len(array), array.shape[1]))
  return real[:, None] & (np.arange(array.shape[1]) < lengths[:, None])


def measure(array: np.ndarray, real: np.ndarray) -> dict[str, list[float]]:
  """Returns mean and population deviation of each feature over what is real, in float64.

  Two passes over values from which a feature's first one is subtracted: an offset of any size costs no
  digits, and a constant feature has deviation 0 exactly.

  Args:
    array: [examples, (length,) features] of any numbers.
    real: of `real_rows`, True somewhere.
  """
  rows = array[real].astype(np.float64)
  first = rows[0].copy()
  rows -= first
  largest = np.abs(rows).max(axis=0)
  # In units of the largest, squares neither overflow nor vanish.
  rows /= np.where(largest > 0, largest, 1)
  mean = rows.mean(axis=0)
  deviation = largest * np.sqrt(np.square(rows - mean).mean(axis=0))
  return {"mean": (first + largest * mean).tolist(), "deviation": deviation.tolist()}


def apply(
  array: np.ndarray, real: np.ndarray, statistics: Mapping[str, Sequence[float]]
) -> np.ndarray:
  """Standardises (x - mean) / deviation in float64.

  Args:
    array: [examples, (length,) features] of any numbers.
    real: of `real_rows`.
    statistics: of `measure`, for the training examples.

  Returns:
    float32 of the same shape, within +-1e6; 0 where nothing is real and for features that are constant in
    training, whatever they are here.
  """
  mean, deviation = (np.asarray(statistics[part], np.float64) for part in ("mean", "deviation"))
  result = np.zeros(array.shape, np.float32)
  rows = array[real].astype(np.float64)
  varies = deviation > 0
  with np.errstate(over="ignore"):
    rows = np.where(varies, (rows - mean) / np.where(varies, deviation, 1), 0)
  result[real] = np.clip(rows, -LARGEST, LARGEST)
  return result
