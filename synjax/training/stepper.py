"""States of all trials on the devices, and the compiled steps that move them forward."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from synjax import parallel
from synjax.data import pipeline
from synjax.training.frozen_params import FrozenParams
from synjax.training.step import make_train_steps
from synjax.training.train_state import TrainState
from synjax.trial import Trial
from synjax.workdir import stopping

logger = logging.getLogger("synjax")


class Stepper:
  """Does the steps of all trials: in one call, or where every batch has its own length one by one.

  See `pipeline.Padding.groups`: a trial's numbers never depend on those it is trained together with.

  Attributes:
    programs: length of padded sequences -> compiled steps.
    program_bytes: XLA's temporary memory on a device, of the largest program so far; it comes on top of
      parameters, optimizer and data. None: nothing compiled yet, or not known (pmap over several hosts).
  """

  def __init__(
    self,
    step: Callable[..., tuple[TrainState, dict[str, jax.Array]]],
    dataset: pipeline.Dataset,
    devices: parallel.Devices,
    steps_per_call: int,
    trials: Trial,
    arrays: tuple[Any, Any],
  ):
    """Compiles nothing yet.

    Args:
      step: see `step.make_train_step`.
      dataset: whose training split is stepped through.
      devices: of the run.
      steps_per_call: at most so many steps a call.
      trials: host arrays [trials].
      arrays: of the training split, see `Predictor.arrays`.
    """
    self._step, self._devices, self._steps_per_call = step, devices, steps_per_call
    self._split, self._padding = dataset.train, dataset.padding
    self._groups = dataset.padding.groups(len(trials.seed))
    self._trials = [devices.place(_take(trials, group)) for group in self._groups]
    self._shared, own = arrays
    self._own = self._apart(own)
    self._join = devices.compile(
      lambda *parts, axis: jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)
    )
    self._states: list[TrainState] = []
    self._frozen = [FrozenParams()] * len(self._groups)
    self.programs: dict[int | None, Any] = {}
    self.program_bytes: int | None = None

  def _apart(self, own: Any) -> list[Any]:
    """Returns each group's part of arrays on the devices, leaves [trials, ...]."""
    if len(self._groups) == 1 or not jax.tree.leaves(own):
      return [own] * len(self._groups)
    return self._devices.compile(lambda own, axis: [_take(own, group) for group in self._groups])(
      own
    )

  def freeze(self, frozen: FrozenParams) -> None:
    """Takes over the parameters that are not trained: host arrays; what is shared is placed once."""
    shared = self._devices.place(frozen.shared)
    self._frozen = [
      FrozenParams(shared, self._devices.place(_take(frozen.own, group))) for group in self._groups
    ]

  @property
  def frozen(self) -> FrozenParams:
    """Returns the parameters that are not trained, of all trials, on the devices."""
    return FrozenParams(self._frozen[0].shared, self._joined([part.own for part in self._frozen]))

  def place(self, state: TrainState) -> None:
    """Takes over a state of all trials: host arrays, leaves [trials, ...]."""
    self._states = []  # both at once may be too large for the device
    self._states = [self._devices.place(_take(state, group)) for group in self._groups]

  @property
  def state(self) -> TrainState:
    """Returns the state of all trials on the devices, leaves [trials, ...]."""
    return self._joined(self._states)

  def _joined(self, parts: Sequence[Any]) -> Any:
    if len(parts) == 1 or not jax.tree.leaves(parts):
      return parts[0]
    return self._join(*parts)

  def same_shape(self, index: np.ndarray) -> int:
    """Returns how many steps of `index` int[trials, steps, batch] can be done before a shape changes."""
    lengths = zip(*self._lengths(index), strict=True)
    first = next(lengths)
    return 1 + next((i for i, found in enumerate(lengths) if found != first), index.shape[1] - 1)

  def _lengths(self, index: np.ndarray) -> list[list[int | None]]:
    """Returns the length of every step of every group."""
    return [self._padding.lengths(self._split, index[group]) for group in self._groups]

  def advance(
    self,
    index: np.ndarray,
    fed: Sequence[Mapping[str, jax.Array]],
    active: np.ndarray,
    steps: range,
  ) -> tuple[dict[str, jax.Array], bool]:
    """Does `steps`, of one shape: at most `steps_per_call`.

    Args:
      index: int32[trials, steps_per_call, batch].
      fed: for each group of trials the batches that were read, see `stream.Feed.take`.
      active: bool[trials]; the state of the others stays as it is.
      steps: the run's next ones, see `same_shape`.

    Returns:
      Metrics of the steps, still on the devices; and whether a program was compiled for them.
    """
    metrics, before = [], len(self.programs)
    for i, (group, (length, *_)) in enumerate(zip(self._groups, self._lengths(index), strict=True)):
      args = (
        self._states[i],
        self._shared,
        self._own[i],
        fed[i],
        self._devices.split(index[group], batch_axis=2),
        self._trials[i],
        self._devices.place(active[group]),
        self._devices.place(np.int32(len(steps))),
        self._devices.place(np.int32(steps.start)),
        self._frozen[i].shared,
        self._frozen[i].own,
      )
      if length not in self.programs:
        which = "" if length is None else f" for sequences of {length} steps"
        logger.info("compiling the training step%s (usually 20 to 60 s on CPUs) ...", which)
        function = make_train_steps(self._step, self._steps_per_call, length)
        program = self._devices.compile(function, donate=(0,))
        # What `lower` makes of a pmap would want the arguments of all processes.
        if self._devices.mode != "pmap" or jax.process_count() == 1:
          # Ahead of time, so that the memory it needs is known without compiling twice.
          with stopping.doing("compiling"):
            program = program.lower(*args).compile()
          self._size(program)
        self.programs[length] = program
      self._states[i], found = self.programs[length](*args)
      metrics.append(found)
    return self._joined(metrics), len(self.programs) > before

  def _size(self, program: Any) -> None:
    """Notes the memory of a compiled program."""
    memory = program.memory_analysis()
    if memory is not None:
      self.program_bytes = max(self.program_bytes or 0, int(memory.temp_size_in_bytes))


def _take(tree: Any, group: slice) -> Any:
  return jax.tree.map(lambda x: x[group], tree)
