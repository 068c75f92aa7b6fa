"""Raw features: an example's inputs as one vector, standardised, for models that learn no encoder.

A vector is taken as it is, an image pixel by pixel, and a sequence as mean, deviation, minimum and
maximum of each feature over its real steps: of one width whatever its length, and without its padding.
(Flattened steps would hold their order, but also the padding, and be as wide as the longest sequence.)

Everything is standardised here, by training statistics, from the values as they are stored: whether a
dataset has standardised a feature before, or changed its unit, makes no difference.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from synjax.data import fields
from synjax.data.pipeline import Split, gather_rows

# Of the training split: numbers as they are stored, and features that a model is fitted on.
MAX_STORED, MAX_FEATURES = 2**28, 2**25
_CHUNK = 1024  # examples that are read at a time


def too_large(split: Split, modalities: Sequence[str]) -> str:
  """Returns why the raw features of a training split are not computed; "": they are."""
  example = _read(split, np.arange(1))
  sizes = {"numbers": 0, "raw features": 0}
  for name in modalities:
    shape = np.shape(example[name])[1:]
    sizes["numbers"] += math.prod(shape)
    sizes["raw features"] += 4 * shape[-1] if len(shape) == 2 else math.prod(shape)
  for (what, size), limit in zip(sizes.items(), (MAX_STORED, MAX_FEATURES), strict=True):
    if split.num_examples * size > limit:
      return f"{split.num_examples} training examples of {size} {what}: more than {limit} in all"
  return ""


def read(split: Split, modalities: Sequence[str]) -> dict[str, np.ndarray]:
  """Reads the raw features of a stored split.

  Returns:
    modality -> float64[examples, features], not standardised; NaN where an example lacks the modality or
    a number is not finite.
  """
  parts: dict[str, list[np.ndarray]] = {name: [] for name in modalities}
  for batch in _batches(split):
    for name in modalities:
      parts[name].append(_vectors(batch, name))
  return {name: np.concatenate(found) for name, found in parts.items()}


def standardize(
  splits: Mapping[str, Mapping[str, np.ndarray]], train: str
) -> dict[str, dict[str, np.ndarray]]:
  """Standardises features: (x - mean) / deviation over the training examples that have them.

  Args:
    splits: split -> what `read` returns of it.
    train: the split whose statistics are taken.

  Returns:
    split -> modality -> float32[examples, features]; 0, the mean, where there is nothing, and for a
    feature that does not vary in training.
  """
  found: dict[str, dict[str, np.ndarray]] = {split: {} for split in splits}
  for name, values in splits[train].items():
    known = np.isfinite(values)
    count = np.maximum(known.sum(0), 1)
    mean = np.where(known, values, 0).sum(0) / count
    gap = np.where(known, values - mean, 0)
    deviation = np.sqrt(np.square(gap).sum(0) / count)
    # What is left of equal numbers is rounding.
    varies = deviation > 1e-7 * np.maximum(np.abs(mean), np.finfo(np.float32).tiny)
    for split, features in splits.items():
      scaled = (features[name] - mean) / np.where(varies, deviation, 1)
      scaled = np.where(varies & np.isfinite(scaled), scaled, 0)
      found[split][name] = scaled.astype(np.float32)
  return found


def _batches(split: Split) -> Iterator[Mapping[str, np.ndarray]]:
  for start in range(0, split.num_examples, _CHUNK):
    yield _read(split, np.arange(start, min(start + _CHUNK, split.num_examples)))


def _read(split: Split, index: np.ndarray) -> Mapping[str, np.ndarray]:
  """Reads examples as they are stored, on the host."""
  if split.rows is not None:
    return split.rows.read(index)
  if split.gather is gather_rows:
    return {name: array[index] for name, array in split.arrays.items()}
  return split.read(index)


def _vectors(batch: Mapping[str, np.ndarray], name: str) -> np.ndarray:
  """Returns float64[batch, features] of a modality, NaN where there is nothing."""
  values = np.asarray(batch[name], np.float64)
  if values.ndim == 3:
    length = fields.length(batch, name)
    steps = np.full(len(values), values.shape[1]) if length is None else np.asarray(length)
    features = _summarize(values, np.arange(values.shape[1]) < steps[:, None])
  else:
    features = np.where(np.isfinite(values), values, np.nan).reshape(len(values), -1)
  present = fields.present(batch, name)
  if present is not None:
    features = np.where(np.asarray(present)[:, None], features, np.nan)
  return features


def _summarize(values: np.ndarray, valid: np.ndarray) -> np.ndarray:
  """Returns mean, deviation, minimum and maximum [batch, 4 features] over the valid, finite steps.

  Args:
    values: [batch, length, features].
    valid: bool[batch, length].
  """
  real = valid[..., None] & np.isfinite(values)
  count = np.maximum(real.sum(1), 1)
  mean = np.where(real, values, 0).sum(1) / count
  gap = np.where(real, values - mean[:, None], 0)
  deviation = np.sqrt(np.square(gap).sum(1) / count)
  low, high = np.where(real, values, np.inf).min(1), np.where(real, values, -np.inf).max(1)
  found = np.stack([mean, deviation, low, high], axis=1)
  return np.where(real.any(1)[:, None], found, np.nan).reshape(len(values), -1)
