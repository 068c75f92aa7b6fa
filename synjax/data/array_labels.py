"""What the labels of a user's archive mean: classes or numbers, which classes, and what gives them away.

Classes are those that occur in training, numbered in the order in which they first occur there: what they
are called then changes no number, and their names are kept for reports.
"""

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from synjax.data import array_roles, array_sentinels
from synjax.data.npz import Member

KINDS = ("classes", "multilabel", "regression", "none")  # of `config.data.label_kind`
_ASK = "say which with --config.data.label_kind=classes or --config.data.label_kind=regression"
_NO_LABELS = "pre-train without labels: --config.data.label_kind=none"
_CHECKED_FIRST = 1024  # examples: features that survive are checked on all
_ENOUGH = 8  # examples of one value, below which a feature may follow the label by chance
_ENOUGH_RANKED = 64  # examples, below which a feature near the label may be in its order
_UNLIKELY = 0.01  # features that follow the label by chance


def find_kind(where: str, label: np.ndarray | None, asked: str | None) -> str:
  """Says what labels are: "classes", "multilabel", "regression" or "none".

  Args:
    where: file and array, for messages.
    label: of the training examples; None: there is no such array.
    asked: `config.data.label_kind`; None: by the dtype, where that leaves no doubt: texts, booleans and
      integers are classes, fractions a regression, and without an array there are none.

  Returns:
    The kind.

  Raises:
    ValueError: the labels are not of the kind asked for, or may be of several.
  """
  if asked is not None and asked not in KINDS:
    raise ValueError(f"config.data.label_kind: expected one of {KINDS}, found {asked!r}")
  if asked == "none" or (label is None and asked is None):
    return "none"
  if label is None:
    raise ValueError(f"{where}: expected an array, found none; add it, or {_NO_LABELS}")
  _check_form(where, label)
  if asked == "multilabel":
    _check_multilabel(where, label)
    return asked
  found, numbers = f"{label.dtype}{list(label.shape)}", label.dtype.kind != "U"
  matrix = label.ndim == 2 and label.shape[1] > 1
  whole = not numbers or bool((label == np.floor(label)).all())
  if asked == "regression":
    if not numbers:
      raise ValueError(f"{where}: expected numbers, for label_kind is regression, found {found}")
    return asked
  if matrix and (whole or asked):
    raise ValueError(
      f"{where}: expected one class or number an example, found {found}; {_of(label)}"
    )
  if asked == "classes" and not whole:
    raise ValueError(f"{where}: expected whole numbers, for label_kind is classes, found fractions")
  if asked is None and label.dtype.kind == "f" and whole:
    raise ValueError(
      f"{where}: expected classes or numbers, found whole numbers such as {_some(label)} as"
      f" {label.dtype}, which may be either; {_ASK}"
    )
  if whole:
    _require_int64(where, label)
  none = _means_no_label(label) if asked is None and whole else None
  if none is not None:
    raise ValueError(
      f"{where}: expected classes, found {none!s} for {(label == none).sum()} of {len(label)} examples;"
      " if that is a class, --config.data.label_kind=classes; if it means no label, leave these examples"
      f" out, or {_NO_LABELS}"
    )
  return "classes" if whole else "regression"


def _check_multilabel(where: str, label: np.ndarray) -> None:
  """Refuses what is not [examples, labels] of 0 and 1 with both in every column."""
  found = f"{label.dtype}{list(label.shape)}"
  if label.ndim != 2 or label.shape[1] < 2 or label.dtype.kind == "U":
    raise ValueError(
      f"{where}: expected [examples, labels] of 0 and 1, at least 2 labels, for label_kind is multilabel,"
      f" found {found}; of one label an example --config.data.label_kind=classes"
    )
  require_zero_one(where, label)
  same = np.flatnonzero((label == label[0]).all(axis=0))
  if len(same):
    raise ValueError(
      f"{where}: expected 0 and 1 in every column of the training examples, found only"
      f" {int(label[0, same[0]])} in column {same[0]}; leave the column out"
    )


def require_zero_one(where: str, label: np.ndarray) -> None:
  """Raises ValueError for labels of several an example that are not 0 and 1."""
  wrong = label[~np.isin(label, (0, 1))]
  if len(wrong):
    raise ValueError(
      f"{where}: expected 0 and 1, for label_kind is multilabel, found {wrong[0]!s}; write 1 where an"
      " example has the label, else 0"
    )


def _means_no_label(label: np.ndarray) -> str | int | None:
  """Returns the value among classes that may stand for no label, see `array_sentinels`; or None."""
  return array_sentinels.find(np.unique(_column(label)).tolist())


def ask_about_numbers(
  paths: Mapping[str, pathlib.Path], labels: Mapping[str, np.ndarray], asked: str | None
) -> str:
  """Says which number to predict may stand for no label, see `array_sentinels`; "": none.

  Args:
    paths: split -> its file, for messages.
    labels: split -> [examples] or [examples, outputs]; judged together.
    asked: `config.data.label_kind`.

  Raises:
    ValueError: there is one, and nobody has said that the labels are numbers.
  """
  columns = {s: x.reshape(len(x), -1).astype(np.float64) for s, x in labels.items()}
  pooled = np.concatenate(list(columns.values()))
  for i, column in enumerate(pooled.T):
    none = array_sentinels.find_among_numbers(column)
    if none is None:
      continue
    counts = {split: int((x[:, i] == none).sum()) for split, x in columns.items()}
    having = [split for split, count in counts.items() if count]
    each = ", ".join(f"{split} {counts[split]}" for split in having)
    found = f"{none:g} for {sum(counts.values())} of {len(column)} examples ({each})"
    if asked is None:
      raise ValueError(
        f"{paths[having[0]]}: label: expected numbers to predict, found {found}, which may be none; if"
        " that is a number, --config.data.label_kind=regression; if it means no label, leave these"
        f" examples out, or {_NO_LABELS}"
      )
    return f"{found} is learned as a number"
  return ""


def check_presence(path: pathlib.Path, members: Mapping[str, Member], asked: str | None) -> None:
  """Refuses an archive without `label` in which another array looks like the labels.

  Args:
    path: of the archive, for messages.
    members: its arrays.
    asked: `config.data.label_kind`.

  Raises:
    ValueError: see above; with "none" that is what was asked for.
  """
  similar = [name for name in members if array_roles.looks_like_a_label(name)]
  if asked != "none" and "label" not in members and similar:
    raise ValueError(
      f"{path}: {similar[0]}: expected labels in an array named label, found {', '.join(similar)};"
      f" rename it, or {_NO_LABELS}"
    )


def _check_form(where: str, label: np.ndarray) -> None:
  found = f"{label.dtype}{list(label.shape)}"
  if label.dtype.kind not in "fiubU" or label.ndim not in (1, 2) or not label.size:
    raise ValueError(
      f"{where}: expected classes [examples] or numbers [examples, outputs] of at least one example,"
      f" found {found}"
    )
  if label.dtype.kind == "f" and not np.isfinite(label.astype(np.float32)).all():
    raise ValueError(
      f"{where}: expected finite numbers, found NaN or infinity; replace them, or leave the examples"
      " without a label out"
    )


def _require_int64(where: str, label: np.ndarray) -> None:
  """Refuses whole numbers beyond int64, of which several would become one class."""
  if label.dtype.kind == "f":
    wide = label.astype(np.float64)
    beyond = (wide >= 2.0**63) | (wide < -(2.0**63))
  else:
    beyond = (
      label > np.uint64(2**63 - 1) if label.dtype == np.uint64 else np.zeros(len(label), bool)
    )
  if beyond.any():
    raise ValueError(
      f"{where}: expected whole numbers within int64, found {label[beyond][0]!s} for {beyond.sum()} of"
      f" {len(label)} examples; number the classes from 0, and if it means no label, leave these"
      f" examples out, or {_NO_LABELS}"
    )


def decode(where: str, texts: np.ndarray) -> np.ndarray:
  """Returns bytes as str, and what is none as it is; ValueError where they are no UTF-8."""
  if texts.dtype.kind != "S":
    return texts
  try:
    return np.char.decode(texts, "utf-8")
  except UnicodeDecodeError as error:
    raise ValueError(
      f"{where}: expected bytes in UTF-8, found {error.object!r}; store texts, such as"
      " numpy.char.decode(values, 'latin-1')"
    ) from None


def check_split(where: str, label: np.ndarray) -> np.ndarray:
  """Returns the labels of a split, texts as str; ValueError where they can be no labels."""
  label = decode(where, label)
  _check_form(where, label)
  return label


def _of(label: np.ndarray) -> str:
  """Says what to do with a matrix of labels."""
  if label.dtype.kind == "U":
    return "write one column, label[:, k]"
  zero_one = np.isin(label, (0, 1)).all()
  if zero_one and (label.sum(axis=1) == 1).all():
    return "one-hot classes are written as label.argmax(axis=1); " + _NUMBERS
  if zero_one:
    return "of several labels an example, --config.data.label_kind=multilabel; " + _NUMBERS
  return "write one column, label[:, k]; " + _NUMBERS


_NUMBERS = "of numbers to predict, --config.data.label_kind=regression"


def _some(label: np.ndarray) -> str:
  return ", ".join(str(value) for value in np.unique(label)[:3])


def classes_of(where: str, label: np.ndarray) -> tuple:
  """Returns the classes of the training labels in the order in which they first occur.

  Args:
    where: file and array, for messages.
    label: [examples] or [examples, 1]: texts, booleans or whole numbers.

  Returns:
    Their names: str, bool or int.

  Raises:
    ValueError: fewer than two classes, or about as many as there are examples.
  """
  values, first = np.unique(_column(label), return_index=True)
  if len(values) < 2:
    raise ValueError(
      f"{where}: expected at least 2 classes among the training examples, found only {values[0]!s};"
      f" {_NO_LABELS}"
    )
  if len(values) > max(2, len(label) / 2):
    raise ValueError(
      f"{where}: expected classes with several examples each, found {len(values)} classes among"
      f" {len(label)} training examples; names of examples belong into an array ids, of numbers to"
      " predict --config.data.label_kind=regression"
    )
  return tuple(values[np.argsort(first)].tolist())


def encode(where: str, label: np.ndarray, classes: Sequence) -> np.ndarray:
  """Returns the number of every example's class, int32[examples]; -1: not one of `classes`.

  Raises:
    ValueError: a label is a fraction, or beyond int64.
  """
  if label.dtype.kind == "f" and (label != np.floor(label)).any():
    raise ValueError(f"{where}: expected whole numbers, as in train.npz, found fractions")
  _require_int64(where, label)
  names = np.array(classes)
  order = np.argsort(names)
  values = _column(label)
  place = np.minimum(np.searchsorted(names, values, sorter=order), len(names) - 1)
  number = order[place]
  return np.where(names[number] == values, number, -1).astype(np.int32)


def _column(label: np.ndarray) -> np.ndarray:
  """Returns labels [examples]; whole numbers as int64, so that 1.0 and 1 are one class."""
  label = label.reshape(len(label))
  return label.astype(np.int64) if label.dtype.kind in "fiu" else label


def describe_unknown(label: np.ndarray) -> str:
  """Counts labels by class: "4 examples: zebra 3, yak 1"."""
  values, counts = np.unique(_column(label), return_counts=True)
  named = [f"{v!s} {n}" for v, n in zip(values[:5], counts, strict=False)]
  return f"{len(label)} examples: {', '.join(named)}{', ...' if len(values) > 5 else ''}"


def count(label: np.ndarray, classes: Sequence) -> dict[str, int]:
  """Returns name of the class, in order -> number of examples; label int[examples] in [0, classes)."""
  counts = np.bincount(label, minlength=len(classes))
  return {str(name): int(n) for name, n in sorted(zip(classes, counts, strict=True))}


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


def spread_of_scales(array: np.ndarray) -> Mapping[str, float] | None:
  """Returns the smallest and the largest scale of the features, or None when they are alike.

  The scale of a feature (last axis) is its root mean square over the first examples. Alike: within a
  factor of 100 of each other, and the largest within a factor of 100 of 1.
  """
  values = array[:_CHECKED_FIRST].reshape(-1, array.shape[-1])
  scales = np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=0))
  scales = scales[scales > 0]
  if not len(scales):
    return None
  low, high = float(scales.min()), float(scales.max())
  alike = high <= 100 * low and 0.01 <= high <= 100
  return None if alike else {"smallest": low, "largest": high}
