"""What a person at a terminal sees of a command: lines that leave the bar whole, and no long silence."""

import logging
import sys
import threading
import time
from collections.abc import Callable

SILENCE = 9.0  # seconds after which it is said what goes on; looked at every second: within 10


class Handler(logging.StreamHandler):
  """Writes lines above a progress bar, if one is there, and not into it."""

  def emit(self, record: logging.LogRecord) -> None:
    """Writes a line."""
    bars = sys.modules.get("tqdm")  # a command without a bar does not load it
    if bars is None:
      super().emit(record)
      return
    with bars.tqdm.external_write_mode(file=self.stream):
      super().emit(record)


class Heartbeat(logging.Handler):
  """Says what is still going on when nothing was said for a while: the last line, and since when.

  A bar that moves says enough.
  """

  def __init__(
    self, logger: logging.Logger, clock: Callable[[], float] = time.monotonic, moved=None
  ):
    """Starts the time; `start` begins to listen.

    Args:
      logger: whose lines count, and which says it.
      clock: seconds.
      moved: returns a number that changes when a bar moves.
    """
    super().__init__()
    self._logger, self._clock, self._moved = logger, clock, moved or _bar_position
    self._said = self._begun = clock()
    self._last, self._own, self._position = "starting", False, None

  def start(self) -> None:
    """Listens to the logger, and looks every second, until the process ends."""
    self._logger.addHandler(self)
    threading.Thread(target=self._look_on, daemon=True).start()

  def emit(self, record: logging.LogRecord) -> None:
    """Notes a line."""
    self._said = self._clock()
    if not self._own:
      self._begun, self._last = self._said, record.getMessage()

  def look(self) -> None:
    """Says it, if it is time."""
    position, now = self._moved(), self._clock()
    if position != self._position:
      self._position, self._said = position, now
    if now - self._said >= SILENCE:
      self._own = True
      try:
        text = self._last.removesuffix(" ...").partition("\n")[0]
        self._logger.info("still at it after %.0f s: %s", now - self._begun, text)
      finally:
        self._own = False

  def _look_on(self) -> None:
    while True:
      time.sleep(1)
      self.look()


def _bar_position() -> int | None:
  """Returns where the bars of this process are; None: none is shown."""
  bars = getattr(sys.modules.get("tqdm"), "tqdm", None)  # that module may be half imported just now
  if bars is None:
    return None
  with bars.get_lock():  # one that is being made has neither a position nor a place in the set
    made = [bar for bar in bars._instances if not getattr(bar, "disable", True)]
  shown = [getattr(bar, "n", 0) for bar in made]
  return sum(shown) if shown else None
