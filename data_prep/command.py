"""How a command of this package ends: with its exit status, and with one line where a signal ends it."""

import sys
from collections.abc import Callable

from synjax.workdir import stopping


def run(main: Callable[[], int]) -> None:
  """Exits with the status that `main` returns, or 143 and 130 on SIGTERM and SIGINT."""
  stopping.install("starts afresh")
  try:
    with stopping.catching():
      status = main()
  except stopping.Stopped as stopped:
    sys.stderr.write(f"{stopped}\n")
    status = stopped.status
  sys.exit(status)
