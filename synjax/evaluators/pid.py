"""Partial information decomposition by the names it is published under; see `estimators.broja`."""

from synjax.evaluators.estimators.broja import (
  PID,
  SampledPID,
  broja,
  gaussian_mmi,
  pid_of_samples,
)

__all__ = ["PID", "SampledPID", "broja", "gaussian_mmi", "pid_of_samples"]
