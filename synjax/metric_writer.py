"""Metrics on disk: JSON lines always, TensorBoard events where tensorboardX is installed."""

import json
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np


class MetricWriter:
  """Appends a row a trial and step to `workdir/metrics.jsonl`, and the same to `workdir/tensorboard`."""

  def __init__(
    self, workdir: pathlib.Path, seeds: Sequence[int], *, resumed_at: int, enabled: bool = True
  ):
    """Opens the files; rows after `resumed_at`, which will be computed again, are dropped.

    Args:
      workdir: output folder.
      seeds: [trials].
      resumed_at: step the run continues from; 0 for a new run.
      enabled: False writes nothing: only the first of several hosts does.
    """
    self._enabled = enabled
    self._events = []
    if not enabled:
      return
    self._path = pathlib.Path(workdir) / "metrics.jsonl"
    seeds = [int(seed) for seed in seeds]
    # Trials of a sweep may share a seed: then their position tells them apart.
    unique = len(set(seeds)) == len(seeds)
    self._trials = [{"seed": s} if unique else {"seed": s, "trial": i} for i, s in enumerate(seeds)]
    rows = read_metrics(self._path)
    kept = [row for row in rows if row["step"] <= resumed_at]
    if len(kept) < len(rows):
      self._path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    try:
      from tensorboardX import SummaryWriter
    except ImportError:
      return
    for trial in self._trials:
      name = "_".join(f"{field}_{value}" for field, value in trial.items())
      folder = str(pathlib.Path(workdir) / "tensorboard" / name)
      self._events.append(SummaryWriter(folder, purge_step=resumed_at + 1 if resumed_at else None))

  def write(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
    """Writes scalars.

    Args:
      step: steps done.
      metrics: name -> [trials].
    """
    if not self._enabled:
      return
    with self._path.open("a") as file:
      for i, trial in enumerate(self._trials):
        values = {name: float(value[i]) for name, value in metrics.items()}
        file.write(json.dumps({"step": int(step), **trial, **values}) + "\n")
        if self._events:
          for name, value in values.items():
            self._events[i].add_scalar(name, value, int(step))

  def __enter__(self) -> "MetricWriter":
    return self

  def __exit__(self, *error) -> None:
    for events in self._events:
      events.close()


def read_metrics(path: pathlib.Path) -> list[dict]:
  """Reads the rows of a metrics file; a last line cut off by an interruption is left out."""
  rows = []
  if not pathlib.Path(path).exists():
    return rows
  for line in pathlib.Path(path).read_text().splitlines():
    try:
      rows.append(json.loads(line))
    except json.JSONDecodeError:
      break
  return rows
