"""Which value among a user's labels may stand for no label: -1, -100, 255, "", "<NA>", ...

What is found is asked about, never dropped: such a value may be a class, or a number to predict.
"""

import re
from collections.abc import Sequence

import numpy as np

_NO_CLASS = {
  *("na", "nan", "nat", "none", "null", "nil", "missing", "unlabeled", "unlabelled"),
  *("nolabel", "notlabeled", "notlabelled", "notavailable", "notapplicable", "undefined"),
}
_BLANK = re.compile(r"[\s?._-]*")
_AROUND = re.compile(r"[\s<>\[\](){}#./_-]+")  # "<NA>", "n.a.", "no_label"
_WHOLE = re.compile(r"\s*[+-]?\d{1,18}\s*")
_FAR = 50  # a number above all others by this may be none
_MANY = 3  # as many numbers may mean none at a time
_FEW = 20  # examples that say too little of which numbers are usual among them
_HUGE = 1e30  # what fills arrays lies beyond: -3.4e38, 9.97e36
# What no label is called in bytes, in two to five digits, and at the end of a type.
_USUAL = {99, 127, 255, 999, 9999, 99999, *(2**bits - 1 for bits in (15, 16, 31, 32, 63))}


def find(values: Sequence) -> str | int | None:
  """Returns the value that may stand for no label, or None.

  Args:
    values: the classes, sorted, each once: texts or whole numbers.
  """
  values = list(values)
  if values and isinstance(values[0], str):
    return _find_text(values)
  return _find_number(values)


def _find_text(values: list[str]) -> str | None:
  """Of texts that are numbers as of these; else what says so in words or is a number below 0."""
  if all(map(_WHOLE.fullmatch, values)):
    texts = {int(text): text for text in values}
    return texts.get(_find_number(sorted(texts)))
  for value in values:
    blank = _BLANK.fullmatch(value) and "+" not in values  # "+" and "-" are two classes
    below = _WHOLE.fullmatch(value) and int(value) < 0
    if blank or below or _AROUND.sub("", value.lower()) in _NO_CLASS:
      return value
  return None


def _find_number(values: list[int]) -> int | None:
  """Returns a number below 0 among others from 0, or one far above the others.

  Numbers that lie alike on both sides of 0 are classes, such as -1 and 1, or -2 to 2; not so -1, 0 and 1,
  which may be 0 and 1 without a label. So are two numbers other than 0 and 1, for one alone is no
  classes. Far above is what is 50 more than numbers in sequence, or is a usual one.
  """
  if len(values) < 2:
    return None
  symmetric = values == [-value for value in reversed(values)] and values != [-1, 0, 1]
  pair = len(values) == 2 and not {-1, 0, 1} & set(values)
  if symmetric or pair:
    return None
  if -1 in values:
    return -1
  if values[0] < 0 <= values[-1]:
    return values[0]
  *others, last = values
  in_sequence = others == list(range(others[0], others[0] + len(others)))
  enough = len(others) > 2 or others[0] in (0, 1)
  far = last - others[-1] >= _FAR and ((in_sequence and enough) or last in _USUAL)
  return last if far else None


def find_among_numbers(numbers: np.ndarray) -> float | None:
  """Returns a number that may stand for no label among numbers to predict, or None.

  That is a whole number that is several examples' or a usual one, -999 or the like, which lies further
  from the others than they lie from each other, or below 0 where no other does. Up to three may do so.
  So is a usual one below 0 that at least three examples have, and three times as many as any other.
  Of fewer than 20 others only a usual one below 0, or from 999 on, is told: in so few, gaps and ties
  are chance.

  Args:
    numbers: [examples] of all splits, finite: what is rare in one may be usual in another.
  """
  values, counts = np.unique(numbers, return_counts=True)
  usual = np.isin(np.abs(values), list(_USUAL)) | (np.abs(values) >= _HUGE)
  repeated = counts >= 2 * np.median(counts)
  telling = usual & ((values < 0) | (values >= 999))
  may_be_none = (values == np.floor(values)) & (usual | ((counts > 1) & repeated))
  for count in range(1, min(_MANY, len(values) - 2) + 1):
    for outer, inner in ((slice(count), count), (slice(-count, None), -count - 1)):
      kept = np.ones(len(values), bool)
      kept[outer] = False
      kept &= ~usual
      few = counts[kept].sum() < _FEW
      if kept.sum() < 2 or not (telling if few else may_be_none)[outer].all():
        continue
      gap = np.abs(values[inner] - values[outer]).min()
      below = values[outer][-1] < 0 <= values[kept][0] and (count == 1 or usual[outer].any())
      if gap > np.ptp(values[kept]) or below:
        return float(values[outer][np.argmax(usual[outer])])
  return _atom(values, counts, usual)


def _atom(values: np.ndarray, counts: np.ndarray, usual: np.ndarray) -> float | None:
  """Returns a usual value below 0, wherever it lies, that many more examples have than any other."""
  others = counts[~usual].max(initial=0)
  found = values[usual & (values < 0) & (counts >= 3) & (counts >= 3 * others) & (others > 0)]
  return float(found[0]) if len(found) else None
