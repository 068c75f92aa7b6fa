"""metrics.jsonl, written and read: what was logged. TensorBoard events where tensorboardX is there."""

import math
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from synjax.workdir import json_files
from synjax.workdir.files import (
  METRICS,
  TENSORBOARD,
  numbers,
  to_json,
  write_atomically,
)

_ROW = {"step": int, "seed": int, ...: (float, None)}


def name_trials(seeds: Sequence[int]) -> list[dict[str, int]]:
  """Returns the fields that tell trials apart: seeds, and positions where trials of a sweep share one."""
  seeds = [int(seed) for seed in seeds]
  unique = len(set(seeds)) == len(seeds)
  return [{"seed": s} if unique else {"seed": s, "trial": i} for i, s in enumerate(seeds)]


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
    self._path = pathlib.Path(workdir) / METRICS
    self._trials = name_trials(seeds)
    if self._path.exists():
      rows = [row for row in read_metrics(self._path) if row["step"] <= resumed_at]
      kept = "".join(to_json(row) + "\n" for row in rows)
      # Also where a line is damaged or unfinished.
      if kept != self._path.read_text(errors="replace"):
        write_atomically(self._path, kept)
    try:
      from tensorboardX import SummaryWriter
    except ImportError:
      return
    for trial in self._trials:
      name = "_".join(f"{field}_{value}" for field, value in trial.items())
      folder = str(pathlib.Path(workdir) / TENSORBOARD / name)
      self._events.append(SummaryWriter(folder, purge_step=resumed_at + 1 if resumed_at else None))

  def write(self, step: int, metrics: Mapping[str, np.ndarray]) -> None:
    """Writes scalars.

    Args:
      step: steps done.
      metrics: name -> [trials].
    """
    if not self._enabled:
      return
    rows = [
      {name: float(value[i]) for name, value in metrics.items()} for i in range(len(self._trials))
    ]
    with self._path.open("a") as file:
      file.writelines(
        to_json({"step": int(step), **trial, **values}) + "\n"
        for trial, values in zip(self._trials, rows, strict=True)
      )
    for i, events in enumerate(self._events):
      for name, value in rows[i].items():
        if math.isfinite(value):  # of which there is no point to draw; the writer warns of each
          events.add_scalar(name, value, int(step))

  def __enter__(self) -> "MetricWriter":
    return self

  def __exit__(self, *error) -> None:
    for events in self._events:
      events.close()


def read_metrics(path: pathlib.Path) -> list[dict]:
  """Reads the rows of a metrics file, NaN where a metric does not exist; see `json_files`."""
  return [numbers(row) for row in json_files.read_lines(path, _ROW)]
