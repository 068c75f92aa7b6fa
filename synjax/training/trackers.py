"""Where the progress of a run goes beside its workdir: `--log=jsonl,tensorboard,wandb`.

`jsonl` is for programs: one JSON object a line on the standard output, whenever the run writes a row. Its
fields are `workdir`, `step`, `total_steps`, `epoch`, `steps_per_second` (null: not measured yet),
`seconds_left` (null: not known yet), and `trials`, one object a seed with `seed` (and `trial`, its
position, where seeds are equal) and what was measured. The last line, `finished`: true, has the scores of
the test split.
"""

import hashlib
import importlib
import importlib.util
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from synjax.workdir.files import to_json

NAMES = ("jsonl", "tensorboard", "wandb")
_PACKAGES = {"tensorboard": "tensorboardX", "wandb": "wandb"}  # each an extra of that name
_PROJECT = "synjax"
_NAMES_A_TRIAL = ("seed", "trial")


def require(names: Sequence[str]) -> None:
  """Checks that what `--log` names is there.

  Raises:
    ValueError: an unknown name, or a package that is not installed.
  """
  for name in names:
    if name not in NAMES:
      raise ValueError(f"--log: expected some of {', '.join(NAMES)}, found {name!r}")
    package = _PACKAGES.get(name)
    if package and importlib.util.find_spec(package) is None:
      raise ValueError(
        f"--log={name}: expected the package {package}, found none; type pip install -e '.[{name}]'"
      )


class Tracker(Protocol):
  """Something that follows a run."""

  def write(self, progress: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Takes what was measured at a step.

    Args:
      progress: "step", "total_steps", "epoch", "steps_per_second", "seconds_left", perhaps "finished".
      rows: of each trial the fields of `workdir.metrics.name_trials`, and metric -> value.
    """

  def close(self) -> None:
    """Ends; the run may go on in another process."""


def create(
  names: Sequence[str], workdir: pathlib.Path, config: Mapping[str, Any], num_trials: int
) -> tuple[Tracker, ...]:
  """Creates the trackers of a run; that of TensorBoard is `workdir.metrics`, which writes always."""
  require(names)
  made = {"jsonl": lambda: JsonLines(workdir), "wandb": lambda: Wandb(workdir, config, num_trials)}
  return tuple(made[name]() for name in dict.fromkeys(names) if name in made)


class JsonLines:
  """Lines for programs, see the module."""

  def __init__(self, workdir: pathlib.Path):
    """Writes to what is the standard output now."""
    self._workdir, self._stream = str(workdir), sys.stdout

  def write(self, progress: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Writes a line at once."""
    line = to_json({"workdir": self._workdir, **progress, "trials": list(rows)})
    self._stream.write(f"{line}\n")
    self._stream.flush()

  def close(self) -> None:
    """Leaves the standard output open."""


class Wandb:
  """Weights & Biases: a run a workdir, which goes on when the run does; WANDB_MODE=offline stays here.

  Metrics of several seeds have their seed before their name, `seed_42/train/loss`.
  """

  def __init__(self, workdir: pathlib.Path, config: Mapping[str, Any], num_trials: int):
    """Starts, or goes on with, the run of a workdir."""
    # The same folder is the same run, by whatever name it is reached.
    identity = hashlib.sha256(str(workdir.resolve()).encode()).hexdigest()[:16]
    self._several = num_trials > 1
    self._run = importlib.import_module("wandb").init(
      project=_PROJECT,
      name=workdir.name,
      id=identity,
      resume="allow",
      dir=str(workdir),
      config=config,
    )

  def write(self, progress: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> None:
    """Sends numbers; what is not finite is left out."""
    found = {}
    for row in rows:
      named = "_".join(f"{field}_{row[field]}" for field in _NAMES_A_TRIAL if field in row)
      start = f"{named}/" * self._several
      found |= {f"{start}{name}": v for name, v in row.items() if name not in _NAMES_A_TRIAL}
    found = {name: value for name, value in found.items() if np.isfinite(value)}
    if progress.get("finished"):
      self._run.summary.update(found)
      return
    self._run.log({"epoch": progress["epoch"], **found}, step=progress["step"])

  def close(self) -> None:
    """Ends the run's process."""
    self._run.finish()
