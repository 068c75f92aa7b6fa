"""Averages over the runs of a sweep that differ in their seeds."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Score(NamedTuple):
  """Mean, standard deviation (ddof 1), standard error and number of runs; NaN where undefined."""

  mean: float
  std: float
  error: float
  n: int

  @property
  def interval(self) -> tuple[float, float]:
    """Ends of Student's 95 % interval; NaN of one run."""
    if self.n < 2:
      return math.nan, math.nan
    from scipy.special import stdtrit  # takes a while, and few reports need it

    half = stdtrit(self.n - 1, 0.975) * self.error
    return float(self.mean - half), float(self.mean + half)


def score(values: Sequence[float]) -> Score:
  """Summarises the values that are not NaN."""
  known = np.array([value for value in values if not math.isnan(value)], float)
  std = known.std(ddof=1) if len(known) > 1 else math.nan
  mean = known.mean() if len(known) else math.nan
  return Score(float(mean), float(std), float(std / math.sqrt(max(len(known), 1))), len(known))
