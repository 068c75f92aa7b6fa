"""Scores of what is no prediction: one class for every example, an interval of no width."""

import math
from collections.abc import Mapping, Sequence

ABOUT = (
  "(one class): every test example is given the same class, so that the score is chance whatever else"
  " the representation holds. (no width): all test examples are scored alike; an interval over them says"
  " nothing."
)
_ONE, _FLAT = "one class", "no width"
_SQUARE = 3.841458820694124  # of the normal's 97.5 % quantile
_EXACT = 1e-6


def mark(rows: Sequence[Mapping[str, float]], name: str, chance: float | None = None) -> str:
  """Returns what follows a score in its cell; "": there is nothing to say.

  Args:
    rows: one a seed: metric -> value.
    name: of the metric, whose interval's ends are `<name>_low` and `<name>_high`.
    chance: of a macro accuracy; None: of another metric.
  """
  known = [[row.get(f"{name}{end}", math.nan) for end in ("", "_low", "_high")] for row in rows]
  counted = [row.get(f"{name.rpartition('/')[0]}/predicted_classes") for row in rows]
  ones = sum(
    chance is not None and (is_one_class(*own[:2], chance) if count is None else count == 1)
    for own, count in zip(known, counted, strict=True)
  )
  if ones:
    return f" ({_ONE})" if ones == len(known) else f" ({_ONE}: {ones} of {len(known)} seeds)"
  return f" ({_FLAT})" if known and all(low == high for _, low, high in known) else ""


def is_marked(cell: object) -> bool:
  """Says whether a cell has a mark."""
  return f"({_ONE}" in str(cell) or f"({_FLAT})" in str(cell)


def is_one_class(macro: float, low: float, chance: float) -> bool:
  """Says whether a macro accuracy is of the same class for every example.

  It is then chance = 1 / K exactly, which other predictions meet by accident. But the 95 % interval
  (Zou & Donner of Wilson's) then reaches down by z^2 / (n + z^2) / K, n the examples of that class: a
  whole number, which it is of no other predictions.
  """
  if math.isnan(low) or abs(macro - chance) > _EXACT * chance or not low < macro:
    return False
  count = _SQUARE * (chance / (macro - low) - 1)
  return count > 0.5 and abs(count - round(count)) < _EXACT * max(count, 1)
