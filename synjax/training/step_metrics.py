"""Metrics of training steps: from the calls that computed them to what is logged."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from synjax.parallel import Devices


class NotFinite(FloatingPointError):
  """A loss term of some trials is not finite.

  Attributes:
    trials: position of each of them -> what was found, as a message about that trial alone.
  """

  def __init__(self, message: str, trials: Mapping[int, str]):
    super().__init__(message)
    self.trials = trials


def collect(
  devices: Devices, pending: Sequence[tuple[range, Any]]
) -> tuple[range, dict[str, np.ndarray]]:
  """Fetches the metrics of calls in a row, (steps, name -> [trials, steps or more]), and joins them."""
  fetched = [(steps, devices.fetch(metrics)) for steps, metrics in pending]
  joined = {
    name: np.concatenate([metrics[name][:, : len(steps)] for steps, metrics in fetched], axis=1)
    for name in fetched[0][1]
  }
  return range(fetched[0][0].start, fetched[-1][0].stop), joined


def check_finite(
  metrics: dict[str, np.ndarray],
  steps: range,
  names: Sequence[str],
  active: np.ndarray,
  folder: pathlib.Path,
  partial: tuple[str, ...] = (),
  *,
  advice: str,
) -> None:
  """Stops the run when a loss term is not finite.

  Args:
    metrics: name -> [trials, steps]; those of a phase are not looked at where "<phase>/active" is 0,
      and those of `partial` never.
    steps: the steps' numbers.
    names: of the trials, see `trial.names`.
    active: bool[trials]; trials that have stopped are not looked at.
    folder: where the last good checkpoint is, for the message.
    partial: starts of names of metrics that not every batch has, see `Evaluator.step_metrics`.
    advice: what to do, see `advise`.

  Raises:
    NotFinite: naming the first step, the trials and the terms.
  """
  bad = {
    name: ~np.isfinite(value) & np.asarray(active)[:, None] & (_phase_active(metrics, name) > 0)
    for name, value in metrics.items()
    if not name.startswith(partial)
  }
  steps_with = np.any([b.any(axis=0) for b in bad.values()], axis=0)
  if not steps_with.any():
    return
  first = int(np.argmax(steps_with))
  found: dict[int, list[str]] = {}
  for name, b in bad.items():
    for i in np.flatnonzero(b[:, first]):
      found.setdefault(int(i), []).append(f"{name} = {metrics[name][i, first]}")

  def say(which: Mapping[int, list[str]]) -> str:
    terms = "; ".join(f"seed {names[i]}: {', '.join(terms)}" for i, terms in which.items())
    return (
      f"step {steps[first]}: not finite: {terms}. Training stopped; {folder} is as it was before."
      f" {advice}"
    )

  raise NotFinite(say(found), {i: say({i: terms}) for i, terms in found.items()})


def advise(config: ConfigDict) -> str:
  """Returns what of a config may be changed so that a loss stays finite."""
  changes = ["a lower config.optim.lr"]
  if "temperature" in config.method:
    changes.append("a higher config.method.temperature")
  if config.dtype != "float32":
    changes.append("config.dtype=float32")
  return f"Try {' or '.join(changes)}."


def _phase_active(metrics: dict[str, np.ndarray], name: str) -> np.ndarray:
  """Returns 1 where the phase that the metric belongs to ran, 0 where it did not; [trials, steps]."""
  phase = name.partition("/")[0]
  return metrics.get(f"{phase}/active", np.ones_like(metrics[name]))


def average(metrics: dict[str, np.ndarray], partial: tuple[str, ...] = ()) -> dict[str, np.ndarray]:
  """Averages [trials, steps] over the steps on which a metric was computed; NaN for a trial without.

  Those whose names start with one of `partial` are NaN on steps without.
  """
  means = {}
  for name, value in metrics.items():
    ran = _phase_active(metrics, name) > 0
    if name.startswith(partial):
      ran &= np.isfinite(value)
    if ran.any():
      count = ran.sum(axis=1)
      mean = np.where(ran, value, 0).sum(axis=1) / np.maximum(count, 1)
      means[name] = np.where(count > 0, mean, np.nan)
  return means
