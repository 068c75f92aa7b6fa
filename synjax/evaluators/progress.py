"""How far an evaluation is that takes minutes, for whoever waits for it."""

import logging
import time
from collections.abc import Callable

from synjax.config.durations import in_words

logger = logging.getLogger("synjax")

_EVERY = 10.0  # seconds from one line to the next: what takes less says nothing


class Progress:
  """Logs now and then how many parts of an evaluation are done, and the time left."""

  def __init__(self, what: str, total: int, clock: Callable[[], float] = time.monotonic):
    """Starts the time; says nothing yet.

    Args:
      what: that is done, such as "probes of the test split".
      total: how many parts there are, of about the same length.
      clock: seconds.
    """
    self._what, self._total, self._clock, self._done = what, total, clock, 0
    self._started = self._said = clock()

  def __call__(self) -> None:
    """Counts a part that is done."""
    self._done += 1
    now = self._clock()
    if now - self._said < _EVERY or self._done >= self._total:
      return
    self._said = now
    left = (now - self._started) / self._done * (self._total - self._done)
    logger.info(
      "%s: %d of %d done, about %s left", self._what, self._done, self._total, in_words(left)
    )
