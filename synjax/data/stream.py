"""Batches of splits that stay on disk: read and padded ahead of the step that needs them.

Which examples a step sees is `pipeline.TrainOrder`'s choice, as for data on the device, so both give
the same batches for the same seed. The position in the data is therefore the step, which every
checkpoint holds: a feed that starts at a step reads on from there. Each host reads the positions of
the global batch that its own devices hold, and no others.
"""

import time
from collections.abc import Iterator

import grain
import numpy as np

from synjax.data import pipeline


class _Steps:
  """This host's share of the batch of every step, by random access: what Grain's threads read."""

  def __init__(self, split, order, padding, positions, num_steps):
    self._split, self._order, self._padding = split, order, padding
    self._positions, self._num_steps = positions, num_steps

  def __len__(self) -> int:
    return self._num_steps

  def __getitem__(self, step: int) -> tuple[dict[str, np.ndarray], ...]:
    index = self._order.take(int(step), 1)
    return tuple(self._read(index[group]) for group in self._padding.groups(len(index)))

  def _read(self, index: np.ndarray) -> dict[str, np.ndarray]:
    """Reads the batches of a group of trials, leaves [trials, batch, ...]."""
    (length,) = self._padding.lengths(self._split, index)
    own = np.maximum(index[:, 0, self._positions], 0)
    batch = self._split.rows.read(own.reshape(-1), length)
    return {name: value.reshape(*own.shape, *value.shape[1:]) for name, value in batch.items()}


class Feed:
  """Training batches of a streamed split, from a step on.

  Attributes:
    seconds_waiting: time that `take` has waited for data since the feed was made.
  """

  def __init__(
    self,
    split: pipeline.Split,
    order: pipeline.TrainOrder,
    padding: pipeline.Padding,
    devices,
    *,
    steps: range,
    threads: int,
    read_ahead: int,
  ):
    """Starts reading.

    Args:
      split: with `rows`.
      order: which examples come when.
      padding: of the dataset.
      devices: `parallel.Devices` of the run.
      steps: first step to deliver, and the end of the run.
      threads: that read at the same time.
      read_ahead: batches kept ready.
    """
    positions = devices.own_positions(order.batch_size)
    source = _Steps(split, order, padding, positions, steps.stop)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, read_ahead))
    dataset = grain.MapDataset.source(source)[steps.start :].to_iter_dataset(options)
    self._batches: Iterator = iter(dataset)
    self._devices = devices
    self.seconds_waiting = 0.0

  def take(self, num_steps: int, steps_per_call: int) -> list[dict]:
    """Places the next `num_steps` batches.

    Returns:
      For every group of trials (`Padding.groups`) leaves [trials, steps_per_call, batch, ...].
    """
    start = time.monotonic()
    read = [next(self._batches) for _ in range(num_steps)]
    self.seconds_waiting += time.monotonic() - start
    # Not used by the program, which has one shape for every number of steps.
    read += [read[-1]] * (steps_per_call - num_steps)
    return [
      self._devices.assemble(
        {name: _stacked([batch[name] for batch in steps]) for name in steps[0]}, batch_axis=2
      )
      for steps in zip(*read, strict=True)
    ]


def _stacked(parts: list[np.ndarray]) -> np.ndarray:
  """Returns [trials, steps, ...]; of one step without a copy, for features of towers are large."""
  return parts[0][:, None] if len(parts) == 1 else np.stack(parts, axis=1)
