"""How far an evaluation is that takes minutes, for whoever waits for it."""

import logging
import math
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
    self._said = clock()
    self._first = math.nan  # when the first part was done: it compiled what the others run

  def __call__(self) -> None:
    """Counts a part that is done."""
    self._done += 1
    now = self._clock()
    if self._done == 1:
      self._first = now
    if now - self._said < _EVERY or self._done >= self._total:
      return
    self._said = now
    said = f"{self._what}: {self._done} of {self._total} done"
    if self._done > 1:
      left = (now - self._first) / (self._done - 1) * (self._total - self._done)
      said += f", about {in_words(left)} left"
    logger.info(said)
