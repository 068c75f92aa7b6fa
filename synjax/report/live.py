"""A report of runs that go on: written again when they are further, and shown on this machine alone."""

import contextlib
import functools
import http.server
import pathlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping

from synjax.workdir import files

EVERY = 10  # seconds between two looks, and after which a browser loads the page again
_READ = (files.CONFIG, files.METRICS, files.RESULTS, files.EVALUATION, files.SWEEP, "rows*.jsonl")
_HOST = "127.0.0.1"


def state(folders: Iterable[str | pathlib.Path]) -> dict[str, tuple[int, int]]:
  """Returns time and size of every file of runs and sweeps that a report is made of."""
  found = {}
  for folder in map(files.resolve, folders):
    for file in (path for name in _READ for path in sorted(folder.glob(name))):
      with contextlib.suppress(FileNotFoundError):
        known = file.stat()
        found[str(file)] = (known.st_mtime_ns, known.st_size)
  return found


def watch(
  write: Callable[[], object],
  folders: Callable[[], Iterable[str | pathlib.Path]],
  seen: Mapping[str, tuple[int, int]],
  *,
  wait: Callable[[], object] = lambda: time.sleep(EVERY),
) -> None:
  """Writes a report whenever a file of its folders has changed; ends by a signal only.

  Args:
    write: writes the report.
    folders: returns those of runs and sweeps, also of such as have begun meanwhile.
    seen: `state` before the report was last written.
    wait: until the next look; what it raises ends the watch.
  """
  while True:
    wait()
    now = state(folders())  # before: what changes while it is written is seen at the next look
    if now != seen:
      write()
      seen = now


@contextlib.contextmanager
def served(folder: pathlib.Path, port: int) -> Iterator[str]:
  """Shows the files of a folder to browsers of this machine while it lasts.

  Args:
    folder: with report.html.
    port: of 127.0.0.1; 0: one that is free.

  Yields:
    The page's address.

  Raises:
    OSError: the port is taken.
  """
  handler = functools.partial(_Handler, directory=str(folder))
  try:
    server = http.server.ThreadingHTTPServer((_HOST, port), handler)
  except OSError as error:
    raise OSError(
      f"--port: expected one that is free, found {port} taken ({error.strerror}); give another, or 0"
    ) from error
  thread = threading.Thread(target=server.serve_forever, daemon=True)
  thread.start()
  try:
    yield f"http://{_HOST}:{server.server_port}/report.html"
  finally:
    server.shutdown()
    server.server_close()
    thread.join()


class _Handler(http.server.SimpleHTTPRequestHandler):
  """Files of the report's folder, to who asks for this machine by its own name."""

  def do_GET(self):
    """Answers; a page of another name that leads here is refused."""
    name = self.headers.get("Host", "").rpartition(":")[0]
    if name not in (_HOST, "localhost"):
      self.send_error(403, "expected 127.0.0.1 as the host")
    else:
      super().do_GET()

  def log_message(self, format, *args):
    """Says nothing of requests."""
    del format, args

  def list_directory(self, path):
    """Lists no folder."""
    self.send_error(404, "expected report.html")
