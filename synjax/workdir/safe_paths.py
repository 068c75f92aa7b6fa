"""What may be read of a folder that somebody else made: regular files that lie inside it."""

import os
import pathlib
import stat

_KINDS = (
  (stat.S_ISFIFO, "a named pipe"),
  (stat.S_ISSOCK, "a socket"),
  (stat.S_ISCHR, "a character device"),
  (stat.S_ISBLK, "a block device"),
)


class UnsafeSourceError(ValueError):
  """A source leads out of its folder, or holds what is no file; the message names the path."""


def require_regular(path: str | os.PathLike) -> None:
  """Refuses what is neither a file nor a folder; what is not there is left to the reader.

  Raises:
    UnsafeSourceError: a named pipe, socket or device, or a link to one.
  """
  try:
    mode = os.stat(path).st_mode
  except (OSError, ValueError):
    return
  for is_kind, name in _KINDS:
    if is_kind(mode):
      raise UnsafeSourceError(
        f"{os.fspath(path)}: expected a regular file, found {name}. Remove it from the source."
      )


def require_inside(root: pathlib.Path, *names: str) -> None:
  """Checks files and folders of a source: regular, and inside it when all links are followed.

  A folder is checked at every depth. What is not there is left to the reader.

  Args:
    root: the source's folder.
    *names: of files and folders in it, relative to it.

  Raises:
    UnsafeSourceError: naming the first path that leads out of `root` or is no regular file.
  """
  inside = os.path.realpath(root)
  for name in names:
    path = os.path.join(root, name)
    _require_target(path, inside)
    if os.path.isdir(path):
      _require_tree(path, inside)


def _require_target(path: str, inside: str) -> None:
  real = os.path.realpath(path)
  if os.path.commonpath((real, inside)) != inside:
    raise UnsafeSourceError(
      f"{path}: expected a path inside {inside}, found a link to {real}. Links out of a source are not "
      "followed: put the file itself there, or pass the folder that it is in."
    )
  require_regular(path)


def _require_tree(folder: str, inside: str) -> None:
  """Linked folders are not descended into: what is inside the source is met at its own place."""
  pending = [folder]
  while pending:
    for entry in sorted(os.scandir(pending.pop()), key=lambda entry: entry.name):
      if entry.is_symlink():
        _require_target(entry.path, inside)
      elif entry.is_dir(follow_symlinks=False):
        pending.append(entry.path)
      elif not entry.is_file(follow_symlinks=False):
        require_regular(entry.path)
