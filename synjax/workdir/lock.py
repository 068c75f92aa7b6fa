"""One process at a time: a lock that the system releases when its holder dies, and that names it."""

import contextlib
import errno
import fcntl
import logging
import os
import pathlib
import socket
from collections.abc import Iterator

logger = logging.getLogger("synjax")

FILE = ".lock"  # of a folder
_NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL)


class InUse(Exception):
  """Another process holds the lock; the message names it, and says what to do.

  No OSError: for a sweep, what is in progress elsewhere is no row that failed.
  """


@contextlib.contextmanager
def hold(path: str | os.PathLike, what: str = "a run", *, needed: bool = True) -> Iterator[bool]:
  """Holds a lock while the context lasts; its file names host and process, and goes with the lock.

  The system releases the lock of a process that dies, however it dies, so that the next one gets it.

  Args:
    path: the lock's file; its folder is created, and removed again if nothing else was put there.
    what: is in progress while the lock is held, for those who come second.
    needed: False holds none: of several hosts of one run only the first locks.

  Yields:
    Whether the lock is held; False, with a warning, where the file system has none.

  Raises:
    InUse: another process holds it.
    OSError: the file cannot be written.
  """
  if not needed:
    yield False
    return
  path = pathlib.Path(path)
  missing = [folder for folder in (path.parent, *path.parent.parents) if not folder.exists()]
  try:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path, what)
  except OSError as error:
    raise OSError(
      f"{path.parent}: cannot write there ({error}); choose a folder you may write to, with free space"
    ) from error
  try:
    yield descriptor is not None
  finally:
    if descriptor is not None:
      path.unlink(missing_ok=True)
      os.close(descriptor)
    with contextlib.suppress(OSError):  # something is there now, as it should be
      for folder in missing:
        folder.rmdir()


def _open(path: pathlib.Path, what: str) -> int | None:
  """Returns the locked file, or None without locks."""
  while True:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
      fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
      if _is_at(path, descriptor):
        os.ftruncate(descriptor, 0)
        os.write(
          descriptor,
          f"{what} is in progress: pid {os.getpid()} on host {socket.gethostname()}\n".encode(),
        )
        return descriptor
    except BlockingIOError:
      holder = (
        os.pread(descriptor, 1000, 0).decode(errors="replace").strip() or "another one is at work"
      )
      os.close(descriptor)
      raise InUse(
        f"{path.parent}: expected no other process here, found that {holder}; wait for it, or stop"
        " it"
      ) from None
    except OSError as error:
      os.close(descriptor)
      path.unlink(missing_ok=True)
      if error.errno not in _NO_LOCKS:
        raise
      logger.warning(
        "%s: this file system has no locks (%s): take care that no second process works here",
        path.parent,
        error,
      )
      return None
    os.close(descriptor)  # its holder removed the file between our opening and locking it


def _is_at(path: pathlib.Path, descriptor: int) -> bool:
  """Says whether a path still leads to an open file."""
  try:
    return os.path.samestat(os.stat(path), os.fstat(descriptor))
  except FileNotFoundError:
    return False
