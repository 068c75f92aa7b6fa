"""How a command of this package ends: with its exit status, and with one line where Ctrl-C ends it."""

import sys
from collections.abc import Callable

INTERRUPTED = 130  # 128 + SIGINT, as shells have it


def run(main: Callable[[], int]) -> None:
  """Exits with the status that `main` returns, or 130 when it is interrupted."""
  try:
    status = main()
  except KeyboardInterrupt:
    sys.stderr.write("stopped; the same command starts afresh\n")
    status = INTERRUPTED
  sys.exit(status)
