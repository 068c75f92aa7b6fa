"""The row about what is in one's data: a whole decomposition of a large pair."""

import time
from collections.abc import Iterator

import numpy as np

from launch.benchmark.measure import Row
from synjax.evaluators import pairs

_SECONDS = 180


def pid_rows() -> Iterator[Row]:
  """Both estimators, 20 shuffles and 200 resamples of two 512-dimensional representations."""
  rng = np.random.default_rng(0)
  labels = rng.integers(10, size=10_000)
  features = {
    name: 0.2 * rng.normal(size=(10, 512))[labels] + rng.normal(size=(10_000, 512))
    for name in ("first", "second")
  }
  start = time.perf_counter()
  found = list(pairs.decompose_pairs(features, labels))
  seconds = time.perf_counter() - start
  said = ", ".join(f"{own.estimator} {own.parts.information.estimate:.2f} bits" for own in found)
  yield Row(
    "PID of 10,000 x 512 + 10,000 x 512, 10 classes, null and 200 resamples",
    f"{seconds:.0f} s ({said})", "none", f"{seconds / _SECONDS:.2f} of the bound",
    f"at most {_SECONDS} s", seconds <= _SECONDS,
  )  # fmt: skip
