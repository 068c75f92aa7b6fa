"""Cells of tables: what a score looks like, its spread or interval beside it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

NOT_AVAILABLE = "n/a"


class Value(NamedTuple):
  """A score with the ends of its interval, as it is shown; NaN: not known.

  Attributes:
    mean: over seeds.
    low: end of the interval; the mean itself where there is none.
    high: likewise.
    std: over seeds; NaN of one, and of what all seeds share.
    digits: behind the point.
  """

  mean: float
  low: float
  high: float
  std: float = math.nan
  digits: int = 1

  @classmethod
  def of(
    cls, rows: Sequence[Mapping[str, float]], name: str, scale: float = 1.0, digits: int = 1
  ) -> "Value":
    """Returns a score over seeds.

    Args:
      rows: one a seed: metric -> value.
      name: of the metric; NaN where a row lacks it.
      scale: what it is multiplied with.
      digits: behind the point.
    """

    def column(metric):
      return scale * np.array([row.get(metric, math.nan) for row in rows], float)

    values, low, high = column(name), column(f"{name}_low").mean(), column(f"{name}_high").mean()
    mean = float(values.mean())
    spread = len(values) > 1 and np.ptp(values) > 0
    ends = (mean, mean) if math.isnan(low) or math.isnan(high) else (float(low), float(high))
    return cls(mean, *ends, float(values.std(ddof=1)) if spread else math.nan, digits)

  def __str__(self) -> str:
    if math.isnan(self.mean):
      return NOT_AVAILABLE
    text = f"{self.mean:.{self.digits}f}"
    text += "" if math.isnan(self.std) else f" ± {self.std:.{self.digits}f}"
    known = self.high > self.low
    return text + (f" [{self.low:.{self.digits}f}, {self.high:.{self.digits}f}]" if known else "")


def format_score(rows: Sequence[Mapping[str, Any]], which: str, names: Sequence[str]) -> str:
  """Formats the mean over `names` of a score, in %.

  Args:
    rows: one a seed.
    which: "best" or "last".
    names: metrics with values in [0, 1], averaged within a seed.

  Returns:
    "mean ± std" over seeds, std with ddof 1; of one seed there is no std and the
    95 % interval follows where `<name>_low` and `<name>_high` give it (an average of names has none).
  """
  return _format_values(rows, which, names, scale=100, digits=1)


def format_error(
  rows: Sequence[Mapping[str, Any]], which: str, name: str, *, scale: float = 1.0
) -> str:
  """Formats a score of a regression.

  Args:
    rows: one a seed.
    which: "best" or "last".
    name: of the metric. What is no squared error ("mse", "mean_mse") has three digits behind the point.
    scale: what squared errors are multiplied with, see `units.error_scale`. They have two digits behind
      the point where that is not 1, else three digits in all; none behind the point from 1,000 on.

  Returns:
    As `format_score`.
  """
  if not name.endswith("mse"):
    return _format_values(rows, which, (name,), scale=1, digits=3)
  largest = max((scale * row[which].get(name, 0) for row in rows), default=0)
  digits = 2 if scale != 1 or not 0 < largest < np.inf else 2 - math.floor(math.log10(largest))
  return _format_values(
    rows, which, (name,), scale=scale, digits=0 if largest >= 1000 else max(digits, 0)
  )


def _format_values(rows, which: str, names: Sequence[str], *, scale: float, digits: int) -> str:
  found = [[row[which].get(name, np.nan) for name in names] for row in rows]
  values = scale * np.mean(found, axis=1)
  if not np.isfinite(values).all():
    return NOT_AVAILABLE
  if len(values) > 1:
    return f"{values.mean():.{digits}f} ± {values.std(ddof=1):.{digits}f}"
  low, high = (scale * rows[0][which].get(f"{names[0]}_{end}", np.nan) for end in ("low", "high"))
  known = len(names) == 1 and np.isfinite([low, high]).all()
  suffix = f" [{low:.{digits}f}, {high:.{digits}f}]" if known else ""
  return f"{values[0]:.{digits}f}{suffix}"
