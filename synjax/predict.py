"""Frozen models on whole splits: representations, class scores and labels, on all devices of a run."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np

from synjax import parallel
from synjax.data import pipeline
from synjax.methods.base import Method
from synjax.trial import Trial


class Predictor:
  """Compiles and runs a method's `embed`, `logits` and `unimodal_logits` over splits."""

  def __init__(
    self,
    method: Method,
    dataset: pipeline.Dataset,
    devices: parallel.Devices,
    batch: int,
    trials: Trial,
  ):
    """Prepares evaluation in batches of `batch` examples; `trials` has leaves [trials]."""
    self._method, self._dataset, self._devices, self._batch = method, dataset, devices, batch
    self._trials = trials
    self._programs: dict[tuple, Any] = {}
    self._placed: dict[int, Any] = {}
    self._generated: dict[int, Any] = {}

  def arrays(self, split: pipeline.Split) -> tuple[Any, Any]:
    """Returns (arrays of all trials, each trial's own arrays [trials, ...]) on the devices.

    An array that two splits share is placed once, and what a split generates is generated once.
    """
    if split.generate is not None and id(split) not in self._generated:
      program = self._devices.compile(
        lambda trials, axis: parallel.over_trials(split.generate, in_axes=(0,))(trials)
      )
      self._generated[id(split)] = program(self._trials)
    shared = {name: self._place_once(array) for name, array in split.arrays.items()}
    return shared, self._generated.get(id(split), {})

  def _place_once(self, array: np.ndarray) -> Any:
    if id(array) not in self._placed:
      self._placed[id(array)] = self._devices.place(array)
    return self._placed[id(array)]

  def apply(
    self,
    output: str,
    params: Any,
    model_state: Any,
    split: pipeline.Split,
    modalities: tuple[str, ...] = (),
  ) -> np.ndarray:
    """Computes an output of the method, or a field of the batch, for every example of a split.

    Args:
      output: "embed", "logits", "unimodal_logits", "label" or "source".
      params: on the devices, leaves [trials, ...].
      model_state: likewise.
      split: one of the dataset's.
      modalities: those to use; (): all.

    Returns:
      [trials, num_examples, ...], on the host.
    """
    modalities = modalities or self._dataset.modalities
    key = (output, id(split), modalities)
    if key not in self._programs:
      self._programs[key] = self._compile(output, split, modalities)
    index = pipeline.evaluation_order(split.num_examples, self._batch)
    index = self._devices.split(index, batch_axis=1)
    values = self._devices.fetch(
      self._programs[key](params, model_state, *self.arrays(split), index)
    )
    return values.reshape(len(values), -1, *values.shape[3:])[:, : split.num_examples]

  def _compile(self, output, split, modalities):
    transforms = {name: self._dataset.transforms[name] for name in modalities}

    def evaluate(raw, rows, params, model_state):
      if output in ("label", "source"):
        return raw[output]
      keys = functools.partial(parallel.example_keys, jax.random.key(0), index=rows)
      batch = pipeline.make_views(raw, transforms, ("clean",), keys)["clean"]
      names = {name: name.split("_valid")[0] for name in batch}
      batch = {name: value for name, value in batch.items() if names[name] in modalities}
      return getattr(self._method, output)(params, model_state, batch)

    def program(params, model_state, shared, own, index, axis):
      def one_trial(params, model_state, own):
        def one_batch(rows):
          return evaluate(split.gather({**shared, **own}, rows), rows, params, model_state)

        return jax.lax.map(one_batch, index)

      values = parallel.over_trials(one_trial, in_axes=(0, 0, 0))(params, model_state, own)
      return parallel.all_gather(values, axis, batch_axis=2)

    return self._devices.compile(program)


@dataclasses.dataclass(frozen=True)
class Frozen:
  """A predictor at fixed parameters: what evaluators see of a run.

  Attributes:
    predictor: the run's `Predictor`.
    params: on the devices, leaves [trials, ...].
    model_state: likewise.
  """

  predictor: Predictor
  params: Any
  model_state: Any

  def embed(self, split: pipeline.Split, modalities: tuple[str, ...] = ()) -> np.ndarray:
    """Returns representations float32[trials, examples, dim]; modalities may be left out."""
    return self.predictor.apply("embed", self.params, self.model_state, split, modalities)

  def logits(self, split: pipeline.Split) -> np.ndarray:
    """Returns class scores float32[trials, examples, classes]."""
    return self.predictor.apply("logits", self.params, self.model_state, split)

  def unimodal_logits(self, split: pipeline.Split) -> np.ndarray:
    """Returns each modality's own class scores float32[trials, examples, modalities, classes]."""
    return self.predictor.apply("unimodal_logits", self.params, self.model_state, split)

  def field(self, name: str, split: pipeline.Split) -> np.ndarray:
    """Returns "label" or "source" of every example, int[trials, examples]."""
    return self.predictor.apply(name, self.params, self.model_state, split)
