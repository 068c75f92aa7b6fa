"""How long programs were compiled for, which no later step or evaluation takes again."""

import time

from jax import monitoring

_STAGES = "/jax/core/compile/"  # tracing, lowering, compiling; also what the cache of programs had


class CompileClock:
  """Adds up the time of all compilations while it is open, the training step's and evaluations'."""

  def __init__(self):
    """Starts with nothing measured."""
    self._spans: list[tuple[float, float]] = []
    monitoring.register_event_duration_secs_listener(self._add)

  def close(self) -> None:
    """Listens no more."""
    monitoring.unregister_event_duration_listener(self._add)

  @property
  def seconds(self) -> float:
    """Returns the wall time of compilations so far."""
    return sum(end - start for start, end in self._spans)

  def _add(self, event: str, duration: float, **_) -> None:
    """Notes a stage that has just ended, in place of those inside it: tracing traces inner functions."""
    if event.startswith(_STAGES):
      end = time.monotonic()
      start = end - duration
      while self._spans and self._spans[-1][1] > start:
        start = min(start, self._spans.pop()[0])
      self._spans.append((start, end))
