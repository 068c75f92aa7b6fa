"""How long a training step takes, without compilation, evaluation and saving."""

import time


class StepClock:
  """Adds up the time and the steps between moments at which the devices had nothing left to do.

  Steps are queued on the devices, so the time of a single call means nothing: `restart` is called
  when everything queued is done, `stop` when everything queued since then is.
  """

  def __init__(self):
    """Starts with nothing measured."""
    self._seconds, self._steps = 0.0, 0
    self.restart(0)

  def restart(self, step: int) -> None:
    """Measures from `step` on; what was not stopped before is forgotten."""
    self._since, self._first = time.monotonic(), step

  def stop(self, step: int) -> None:
    """Adds the steps done since `restart`, up to `step`."""
    self._seconds += time.monotonic() - self._since
    self._steps += step - self._first
    self.restart(step)

  @property
  def seconds_per_step(self) -> float | None:
    """Returns the mean seconds of a step, of all trials together; None before one was measured."""
    return self._seconds / self._steps if self._steps else None
