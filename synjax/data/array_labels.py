"""What the labels of a user's archive mean: classes or numbers, and which classes.

Classes are those that occur in training, numbered in the order in which they first occur there: what they
are called then changes no number, and their names are kept for reports.
"""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from synjax.data import array_sentinels
from synjax.data.array_kinds import Said


def find_kind(where: str, label: np.ndarray, said: Said) -> str:
  """Says what the labels of a task are: "classes", "multilabel" or "regression".

  Args:
    where: file and array, for messages.
    label: of the training examples.
    said: what the user says of them. Of nothing the dtype decides, where that leaves no doubt: texts,
      booleans and integers are classes, fractions a regression.

  Returns:
    The kind.

  Raises:
    ValueError: the labels are not of the kind asked for, or may be of several.
  """
  asked = said.kind
  _check_form(where, label)
  if asked == "multilabel":
    _check_multilabel(where, label, said)
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
      f"{where}: expected one class or number an example, found {found}; {_of(label, said)}"
    )
  if asked == "classes" and not whole:
    raise ValueError(f"{where}: expected whole numbers, for label_kind is classes, found fractions")
  if asked is None and label.dtype.kind == "f" and whole:
    raise ValueError(
      f"{where}: expected classes or numbers, found whole numbers such as {_some(label)} as"
      f" {label.dtype}, which may be either; say which with {said.flag('classes')} or"
      f" {said.flag('regression')}"
    )
  if whole:
    _require_int64(where, label, said)
  none = _means_no_label(label) if asked is None and whole else None
  if none is not None:
    raise ValueError(
      f"{where}: expected classes, found {none!s} for {(label == none).sum()} of {len(label)} examples;"
      f" if that is a class, {said.flag('classes')}; if it means no label, leave these examples"
      f" out, or {said.without}"
    )
  return "classes" if whole else "regression"


def _check_multilabel(where: str, label: np.ndarray, said: Said) -> None:
  """Refuses what is not [examples, labels] of 0 and 1 with both in every column."""
  found = f"{label.dtype}{list(label.shape)}"
  if label.ndim != 2 or label.shape[1] < 2 or label.dtype.kind == "U":
    raise ValueError(
      f"{where}: expected [examples, labels] of 0 and 1, at least 2 labels, for label_kind is multilabel,"
      f" found {found}; of one label an example {said.flag('classes')}"
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
  paths: Mapping[str, pathlib.Path], task: str, labels: Mapping[str, np.ndarray], said: Said
) -> str:
  """Says which number to predict may stand for no label, see `array_sentinels`; "": none.

  Args:
    paths: split -> its file, for messages.
    task: name of the labels.
    labels: split -> [examples] or [examples, outputs]; judged together.
    said: what the user says of them.

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
    if said.kind is None:
      raise ValueError(
        f"{paths[having[0]]}: {task}: expected numbers to predict, found {found}, which may be none; if"
        f" that is a number, {said.flag('regression')}; if it means no label, leave these"
        f" examples out, or {said.without}"
      )
    return f"{found} is learned as a number"
  return ""


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


def _require_int64(where: str, label: np.ndarray, said: Said) -> None:
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
      f" examples out, or {said.without}"
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


def _of(label: np.ndarray, said: Said) -> str:
  """Says what to do with a matrix of labels."""
  if label.dtype.kind == "U":
    return "write one column, label[:, k]"
  numbers = f"of numbers to predict, {said.flag('regression')}"
  zero_one = np.isin(label, (0, 1)).all()
  if zero_one and (label.sum(axis=1) == 1).all():
    return "one-hot classes are written as label.argmax(axis=1); " + numbers
  if zero_one:
    return f"of several labels an example, {said.flag('multilabel')}; {numbers}"
  return "write one column, label[:, k]; " + numbers


def _some(label: np.ndarray) -> str:
  return ", ".join(str(value) for value in np.unique(label)[:3])


def classes_of(where: str, label: np.ndarray, said: Said) -> tuple:
  """Returns the classes of the training labels in the order in which they first occur.

  Args:
    where: file and array, for messages.
    label: [examples] or [examples, 1]: texts, booleans or whole numbers.
    said: what the user says of them.

  Returns:
    Their names: str, bool or int.

  Raises:
    ValueError: fewer than two classes, or about as many as there are examples.
  """
  values, first = np.unique(_column(label), return_index=True)
  if len(values) < 2:
    raise ValueError(
      f"{where}: expected at least 2 classes among the training examples, found only {values[0]!s};"
      f" {said.without}"
    )
  if len(values) > max(2, len(label) / 2):
    raise ValueError(
      f"{where}: expected classes with several examples each, found {len(values)} classes among"
      f" {len(label)} training examples; names of examples belong into an array ids, of numbers to"
      f" predict {said.flag('regression')}"
    )
  return tuple(values[np.argsort(first)].tolist())


def encode(where: str, label: np.ndarray, classes: Sequence, said: Said) -> np.ndarray:
  """Returns the number of every example's class, int32[examples]; -1: not one of `classes`.

  Raises:
    ValueError: a label is a fraction, or beyond int64.
  """
  if label.dtype.kind == "f" and (label != np.floor(label)).any():
    raise ValueError(f"{where}: expected whole numbers, as in train.npz, found fractions")
  _require_int64(where, label, said)
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
