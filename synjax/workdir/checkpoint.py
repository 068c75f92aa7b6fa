"""Checkpoints: the whole run as one object, and what happens when one is damaged.

A checkpoint holds the training state and the model selection so far. The position in the data and the
random numbers need no entry of their own: both are functions of (seed, step), and the step is part of
the state. So whatever is restored is consistent by construction.
"""

import base64
import contextlib
import errno
import functools
import io
import logging
import os
import pathlib
import shutil
import sys
import zlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from synjax import parallel
from synjax.workdir import files, identity

logger = logging.getLogger("synjax")


def read_selected(workdir: str, field: str) -> tuple[dict[str, Any], dict[str, Any]]:
  """Reads what another run selected on validation.

  Args:
    workdir: of a run that is finished or has been evaluated.
    field: config field that names it, for messages.

  Returns:
    (its config, the fields of its `selection.Selection`: nested dicts of host arrays [trials, ...];
    empty ones are None. With "frozen", those of its `FrozenParams` that it has).

  Raises:
    ValueError: no run there, no checkpoint, or the newest one is damaged.
    OSError: it could not be read.
  """
  path = pathlib.Path(workdir).expanduser().absolute()
  config_file, folder = path / files.CONFIG, path / files.CHECKPOINTS
  if not config_file.exists() or not folder.exists():
    raise ValueError(
      f"{field}: expected the folder of a trained run, found no checkpoints in {path}"
    )
  try:
    config = identity.read_config(path)
  except ValueError as error:
    raise ValueError(f"{field}: {error}") from error
  checkpointer = Checkpointer(path, read_only=True)
  steps = checkpointer.steps()
  if not steps:
    raise ValueError(f"{field}: {folder} holds no checkpoint yet; train that run first")
  try:
    tree = checkpointer.read_plain(steps[-1])
  except Damaged as error:
    raise ValueError(
      f"{field}: {folder / str(steps[-1])} is damaged ({error}); start that run again, which continues"
      " it from the checkpoint before"
    ) from error
  checkpointer.close()
  return config, {**tree["selection"], "frozen": checkpointer.frozen}


def _checksums(tree: Any, unlogged: Mapping[str, np.ndarray], frozen: Any) -> list[int]:
  return [number for part in (tree, list(unlogged.values()), frozen) for number in _checksum(part)]


def _checksum(tree: Any) -> list[int]:
  return [
    zlib.crc32(np.ascontiguousarray(leaf).view(np.uint8).reshape(-1)) if np.size(leaf) else 0
    for leaf in map(np.atleast_1d, jax.tree.leaves(tree))
  ]


def _encode(arrays: Mapping[str, np.ndarray]) -> str:
  """Packs arrays, whatever their names and values, into a text."""
  buffer = io.BytesIO()
  np.savez(buffer, **{str(i): np.asarray(a) for i, a in enumerate(arrays.values())})
  return base64.b64encode(buffer.getvalue()).decode()


def _decode(item: Mapping[str, Any]) -> dict[str, np.ndarray]:
  with np.load(io.BytesIO(base64.b64decode(item["npz"]))) as arrays:
    return {name: arrays[str(i)] for i, name in enumerate(item["names"])}


class Damaged(ValueError):
  """What a checkpoint holds is not what was saved."""


class Checkpointer:
  """Saves and restores trees of host arrays under `workdir/checkpoints`, the newest two kept.

  Attributes:
    unlogged: name -> array, what was given to `save` beside the tree that `restore` returned.
    frozen: nested dict of arrays, likewise; {}: none were given.
  """

  def __init__(self, workdir: pathlib.Path, *, read_only: bool = False):
    """Opens the folder; what an interrupted save left half-written is not seen as a checkpoint.

    Args:
      workdir: of the run.
      read_only: True changes nothing, so that another process may be training here meanwhile.
    """
    self.folder = pathlib.Path(workdir) / files.CHECKPOINTS
    self.unlogged: dict[str, np.ndarray] = {}
    self.frozen: dict[str, Any] = {}
    self._read_only, self._newest = read_only, None
    self._manager = self._open()

  def _open(self) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
      max_to_keep=None if self._read_only else 2, create=not self._read_only
    )
    return ocp.CheckpointManager(self.folder, options=options)

  def save(
    self,
    step: int,
    tree: Any,
    unlogged: Mapping[str, np.ndarray] | None = None,
    frozen: Mapping[str, Any] | None = None,
  ) -> None:
    """Saves a tree of host arrays; the write goes on in the background.

    A step that this object has saved or restored is not saved again.

    Args:
      step: of the state.
      tree: host arrays.
      unlogged: name -> array of any shape, kept beside the tree.
      frozen: nested dict of arrays of any shape, likewise.

    Raises:
      OSError: the disk is too full, or this or the save before it could not be written; checkpoints
        that are already there stay.
    """
    if step == self._newest:
      return
    unlogged, frozen = unlogged or {}, frozen or {}
    needed = sum(np.asarray(leaf).nbytes for leaf in jax.tree.leaves((tree, unlogged, frozen)))
    free = shutil.disk_usage(self.folder).free
    if free < needed:
      raise OSError(
        f"{self.folder}: expected {needed / 1e6:.0f} MB of free disk for the checkpoint of step {step},"
        f" found {free / 1e6:.0f} MB. Checkpoints {self.steps()} are whole: free some space and start"
        " again with the same --workdir to continue"
      )
    items = {
      "tree": ocp.args.StandardSave(tree),
      "checksum": ocp.args.JsonSave(_checksums(tree, unlogged, frozen)),
    }
    if frozen:
      items["frozen"] = ocp.args.StandardSave(frozen)
    if unlogged:
      items["unlogged"] = ocp.args.JsonSave({"names": [*unlogged], "npz": _encode(unlogged)})
    with self._explained():
      if not self._manager.save(step, args=ocp.args.Composite(**items)):
        raise FileExistsError(f"step {step} is not after those that are there, {self.steps()}")
    self._newest = step

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

  def restore(self, target: Any, avoid: Collection[int] = ()) -> Any | None:
    """Restores the newest checkpoint that is whole; later ones, if any, are deleted.

    One whose content is not what was saved is moved aside as `damaged-<step>` (left, if `read_only`),
    with a warning that names it, and the one before it is tried.

    Args:
      target: tree of host arrays of the same structure, shapes and dtypes.
      avoid: steps whose checkpoint is restored only where no other can be.

    Returns:
      The restored tree of host arrays, or None when there has never been a checkpoint.

    Raises:
      ValueError: there are checkpoints, but all are damaged; or the newest whole one holds arrays of
        other names, shapes or dtypes. The latter is left as it is.
      OSError: a file could not be read: that says nothing of its content, and nothing is moved.
    """
    found = self.steps()
    for step in sorted(found, key=lambda step: (step in avoid, -step)):
      try:
        tree = self._read_twice(step, target)
      except (Damaged, OSError) as error:
        if self._has_moved_on(found):
          return self.restore(target, avoid)
        if isinstance(error, OSError):
          raise
        self._set_aside(step, str(error))
      else:
        self._newest = step
        self._delete_after(step)
        return tree
    aside = sorted(path.name for path in self.folder.glob("damaged-*"))
    if found or aside:
      raise ValueError(
        f"{self.folder}: expected a readable checkpoint, found only damaged ones, {aside or found};"
        " start again in another --workdir, or delete this folder to train from the beginning"
      )
    return None

  def _has_moved_on(self, found: list[int]) -> bool:
    """Says whether a run in progress has replaced the checkpoints that were found."""
    if not self._read_only:
      return False
    self._manager.reload()
    return self.steps() != found

  def _delete_after(self, step: int) -> None:
    """Deletes what would keep later steps from being saved."""
    for later in [] if self._read_only else self.steps():
      if later > step:
        self._manager.delete(later)

  def _set_aside(self, step: int, reason: str) -> None:
    damaged, aside = self.folder / str(step), self.folder / f"damaged-{step}"
    logger.warning(
      "%s: damaged checkpoint skipped%s; trying the one before it. (%s)",
      damaged,
      "" if self._read_only else f" and moved to {aside.name}",
      reason,
    )
    if self._read_only:
      return
    if parallel.is_first_host():
      shutil.rmtree(aside, ignore_errors=True)  # of an earlier save of this step
      os.replace(damaged, aside)
    parallel.wait_for_hosts(f"{aside} is moved")
    self._manager.reload()  # it would skip the next save of this step as already there

  def _read_twice(self, step: int, target: Any) -> Any:
    """Reads a checkpoint; when that fails, finds out whether its content is the reason.

    Raises:
      Damaged: every file can be read, and yet it does not hold what was saved.
      ValueError: it does, but other arrays than those of `target`.
      OSError: a file could not be read.
    """
    try:
      return self._read(step, target)
    except Exception as error:
      first = error
    self._require_readable(step, first)
    with contextlib.suppress(Exception):  # what was passing is over
      return self._read(step, target)
    self.read_plain(step)
    raise ValueError(
      f"{self.folder / str(step)}: expected the arrays of this config and this version of synjax, found"
      f" others ({_first_line(first)}). The checkpoint is whole and stays: continue with the version"
      " that wrote it, or choose another --workdir"
    ) from first

  def _require_readable(self, step: int, error: Exception) -> None:
    """Reads every byte of a checkpoint; raises OSError when the system does not give them all."""
    try:
      if isinstance(error, OSError) and error.errno not in (
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
      ):
        raise error
      if isinstance(error, MemoryError):
        raise OSError(errno.ENOMEM, "out of memory") from error
      if not (self.folder / str(step)).is_dir():
        raise FileNotFoundError(errno.ENOENT, "a run in progress has removed it")
      for file in _files(self.folder / str(step)):
        with file.open("rb") as opened:
          while opened.read(1 << 24):
            pass
    except OSError as found:
      raise OSError(
        f"{self.folder / str(step)}: the checkpoint could not be read ({_first_line(found)}). That says"
        " nothing of its content, and nothing was changed: mend the disk or the permissions, and start"
        " again with the same --workdir to continue"
      ) from found

  def _read(self, step: int, target: Any) -> Any:
    """Reads a checkpoint into the structure of `target`; None: as nested dicts."""
    _hide_late_readers()
    tree_args = ocp.args.StandardRestore() if target is None else ocp.args.StandardRestore(target)
    items = {"tree": tree_args, "checksum": ocp.args.JsonRestore()}
    if (self.folder / str(step) / "unlogged").exists():
      items["unlogged"] = ocp.args.JsonRestore()
    if (self.folder / str(step) / "frozen").exists():
      items["frozen"] = ocp.args.StandardRestore()
    items = self._manager.restore(step, args=ocp.args.Composite(**items))
    tree = jax.tree.map(np.asarray, items["tree"])
    unlogged = _decode(items["unlogged"]) if "unlogged" in items else {}
    frozen = jax.tree.map(np.asarray, items["frozen"]) if "frozen" in items else {}
    # Sorted: the leaves of nested dicts come in another order.
    if sorted(_checksums(tree, unlogged, frozen)) != sorted(items["checksum"]):
      raise Damaged("checksum of the arrays differs from the one saved with them")
    if target is not None:
      _check_fits(tree, target)
    self.unlogged, self.frozen = unlogged, frozen
    return tree

  def read_plain(self, step: int) -> dict[str, Any]:
    """Reads a checkpoint as nested dicts, whatever arrays it holds.

    Raises:
      Damaged: it does not hold what was saved; the message says why, in a few words.
      OSError: a file could not be read.
    """
    try:
      return self._read(step, None)
    except Exception as error:
      self._require_readable(step, error)
      raise Damaged(_first_line(error)) from error

  def close(self) -> None:
    """Waits until everything is on disk; raises OSError when it could not be written."""
    with self._explained():
      self._manager.wait_until_finished()
    self._manager.close()


@functools.cache
def _hide_late_readers() -> None:
  """Hides what the other threads of a read that failed say, at any time later: their loop is closed."""
  before = sys.unraisablehook

  def hook(found):
    if "Event loop is closed" not in str(found.exc_value):
      before(found)

  sys.unraisablehook = hook


def _check_fits(tree: Any, target: Any) -> None:
  """Raises ValueError where a restored array has another shape or dtype than the target's."""
  pairs = zip(jax.tree.leaves_with_path(tree), jax.tree.leaves(target), strict=True)
  for (path, found), expected in pairs:
    if (found.shape, found.dtype) != (np.shape(expected), np.asarray(expected).dtype):
      raise ValueError(
        f"{jax.tree_util.keystr(path)}: expected {np.asarray(expected).dtype}{list(np.shape(expected))},"
        f" found {found.dtype}{list(found.shape)}"
      )


def _files(folder: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields every file below a folder; links that lead nowhere too, which `rglob` of Python 3.11 skips."""

  def fail(error: OSError) -> None:
    raise error

  for parent, _, names in os.walk(folder, onerror=fail):
    yield from (pathlib.Path(parent, name) for name in names)


def _first_line(error: Exception) -> str:
  text = str(error).partition(" [tensorstore_spec=")[0]  # which is a page long
  return (text.splitlines() or [""])[0] or type(error).__name__
