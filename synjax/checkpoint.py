"""Checkpoints: the whole run as one object, and what happens when one is damaged.

A checkpoint holds the training state and the model selection so far. The position in the data and the
random numbers need no entry of their own: both are functions of (seed, step), and the step is part of
the state. So whatever is restored is consistent by construction.
"""

import contextlib
import json
import logging
import os
import pathlib
import shutil
import zlib
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from synjax.workdir.files import write_atomically

logger = logging.getLogger("synjax")


def prepare_workdir(workdir: str, config: dict[str, Any]) -> pathlib.Path:
  """Creates the workdir with the run's config, or checks that it belongs to this config.

  Args:
    workdir: output folder.
    config: nested dict of plain values.

  Returns:
    The workdir's absolute path.

  Raises:
    ValueError: the workdir holds a run of another config; the message shows the fields that differ.
    OSError: the workdir cannot be written.
  """
  path = pathlib.Path(workdir).absolute()
  text = json.dumps(config, indent=2, sort_keys=True)
  try:
    path.mkdir(parents=True, exist_ok=True)
    if not os.access(path, os.W_OK):
      raise PermissionError("no permission to write")
    config_file = path / "config.json"
    if not config_file.exists():
      write_atomically(config_file, text)
      return path
  except OSError as error:
    raise OSError(
      f"--workdir: cannot write to {path} ({error}); choose a folder you may write to, with free space"
    ) from error
  try:
    found = json.loads(config_file.read_text())
  except json.JSONDecodeError as error:
    raise ValueError(
      f"{config_file}: expected the JSON config of a run, found something else ({error}); choose"
      " another --workdir"
    ) from error
  differences = config_differences(found, json.loads(text))
  if differences:
    raise ValueError(
      f"--workdir: {path} holds a run of another config; nothing was changed. Choose another workdir,"
      " or go back to the old values. Differing fields (workdir's -> yours):\n  "
      + "\n  ".join(differences)
    )
  return path


def config_differences(old: Any, new: Any, prefix: str = "") -> list[str]:
  """Lists the fields in which two nested dicts differ, as "field: old -> new"."""
  if not (isinstance(old, dict) and isinstance(new, dict)):
    return [] if old == new else [f"{prefix}: {old!r} -> {new!r}"]
  rows = []
  for name in sorted({*old, *new}):
    field = f"{prefix}.{name}" if prefix else name
    rows += config_differences(old.get(name, "(absent)"), new.get(name, "(absent)"), field)
  return rows


def read_selected(workdir: str, field: str) -> tuple[dict[str, Any], Any, Any]:
  """Reads what another run selected on validation.

  Args:
    workdir: of a run that is finished or has been evaluated.
    field: config field that names it, for messages.

  Returns:
    (its config, params, model_state): nested dicts of host arrays [trials, ...].

  Raises:
    ValueError: no run there, or no checkpoint that can be read.
  """
  path = pathlib.Path(workdir).expanduser().absolute()
  config_file, folder = path / "config.json", path / "checkpoints"
  if not config_file.exists() or not folder.exists():
    raise ValueError(
      f"{field}: expected the folder of a trained run, found no checkpoints in {path}"
    )
  manager = ocp.CheckpointManager(folder)
  step = manager.latest_step()
  if step is None:
    raise ValueError(f"{field}: {folder} holds no checkpoint yet; train that run first")
  items = manager.restore(step, args=ocp.args.Composite(tree=ocp.args.StandardRestore()))
  manager.close()
  chosen = items["tree"]["selection"]
  return json.loads(config_file.read_text()), chosen["params"], chosen.get("model_state") or {}


def _checksum(tree: Any) -> list[int]:
  return [
    zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).reshape(-1)) if np.size(leaf) else 0
    for leaf in map(np.atleast_1d, jax.tree.leaves(tree))
  ]


class Checkpointer:
  """Saves and restores trees of host arrays under `workdir/checkpoints`, the newest two kept."""

  def __init__(self, workdir: pathlib.Path):
    """Opens the folder; what an interrupted save left half-written is not seen as a checkpoint."""
    self.folder = pathlib.Path(workdir) / "checkpoints"
    self._manager = self._open()

  def _open(self) -> ocp.CheckpointManager:
    return ocp.CheckpointManager(
      self.folder, options=ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
    )

  def save(self, step: int, tree: Any) -> None:
    """Saves a tree of host arrays; the write goes on in the background.

    Raises:
      OSError: the disk is too full, or this or the save before it could not be written; checkpoints
        that are already there stay.
    """
    needed = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves(tree))
    free = shutil.disk_usage(self.folder).free
    if free < needed:
      raise OSError(
        f"{self.folder}: expected {needed / 1e6:.0f} MB of free disk for the checkpoint of step {step},"
        f" found {free / 1e6:.0f} MB. Checkpoints {self.steps()} are whole: free some space and start"
        " again with the same --workdir to continue"
      )
    with self._explained():
      self._manager.save(
        step,
        args=ocp.args.Composite(
          tree=ocp.args.StandardSave(tree), checksum=ocp.args.JsonSave(_checksum(tree))
        ),
      )

  @contextlib.contextmanager
  def _explained(self):
    """Turns what orbax raises for a failed write, now or in the background, into one clear message."""
    try:
      yield
    except Exception as error:
      raise OSError(
        f"{self.folder}: a checkpoint could not be written ({error}). Those before it are whole: free"
        " some space or mend the disk, and start again with the same --workdir to continue"
      ) from error

  def steps(self) -> list[int]:
    """Returns the steps of all checkpoints, oldest first."""
    return sorted(self._manager.all_steps())

  def restore(self, target: Any) -> Any | None:
    """Restores the newest checkpoint that is whole.

    A damaged one is moved aside as `damaged-<step>` with a warning that names it, and the one before
    it is tried.

    Args:
      target: tree of host arrays of the same structure, shapes and dtypes.

    Returns:
      The restored tree of host arrays, or None when there is no checkpoint.

    Raises:
      ValueError: there are checkpoints, but none could be read.
    """
    found = self.steps()
    for step in reversed(found):
      try:
        return self._read(step, target)
      except Exception as error:  # any reader's error means the same here: not usable
        aside = self.folder / f"damaged-{step}"
        logger.warning(
          "%s: damaged checkpoint skipped and moved to %s; trying the one before it. (%s)",
          self.folder / str(step),
          aside.name,
          str(error).splitlines()[0] if str(error) else type(error).__name__,
        )
        os.replace(self.folder / str(step), aside)
    if found:
      raise ValueError(
        f"{self.folder}: expected a readable checkpoint, found only damaged ones {found}; start again"
        " in another --workdir, or delete this folder to train from the beginning"
      )
    return None

  def _read(self, step: int, target: Any) -> Any:
    items = self._manager.restore(
      step,
      args=ocp.args.Composite(
        tree=ocp.args.StandardRestore(target), checksum=ocp.args.JsonRestore()
      ),
    )
    tree = jax.tree.map(np.asarray, items["tree"])
    if _checksum(tree) != list(items["checksum"]):
      raise ValueError("checksum of the arrays differs from the one saved with them")
    return tree

  def close(self) -> None:
    """Waits until everything is on disk; raises OSError when it could not be written."""
    with self._explained():
      self._manager.wait_until_finished()
    self._manager.close()
