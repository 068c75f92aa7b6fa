"""Datasets as splits of static shape: what is stored, and how a batch is gathered from it.

Second stage of a run: `data.load(config)` returns a `Dataset`, the loop asks `TrainOrder` which
examples come next and gathers them on the device.
"""

import dataclasses
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import numpy as np

Batch = Mapping[str, jax.Array]


def gather_rows(arrays: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
  """Takes rows `index` of every array: the gather of datasets stored one row an example."""
  return {name: jnp.take(array, index, axis=0) for name, array in arrays.items()}


@dataclasses.dataclass(frozen=True)
class Split:
  """The examples of one split, small enough to live on the device.

  Attributes:
    arrays: name -> array, placed on the device once and never copied to the host again.
    num_examples: how many examples `gather` can address.
    labels: task -> int[num_examples], on the host, for probes.
    gather: (arrays, index int32[batch]) -> modality name -> [batch, ...] and `label` [batch];
      traced inside the compiled step.
  """

  arrays: Mapping[str, np.ndarray]
  num_examples: int
  labels: Mapping[str, np.ndarray]
  gather: Callable[[Mapping[str, jax.Array], jax.Array], dict[str, jax.Array]] = gather_rows


@dataclasses.dataclass(frozen=True)
class Transform:
  """How one modality turns into the inputs of a model, batched and on the device.

  Both functions take (keys [batch], stored values [batch, ...]) and return float values. `augment`
  makes the views "aug1", "aug2", ...; `evaluate` makes the view "clean".
  """

  augment: Callable[[jax.Array, jax.Array], jax.Array]
  evaluate: Callable[[jax.Array, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Dataset:
  """Everything a method, the loop and the evaluators need to know about the data.

  Attributes:
    name: name of the dataset.
    modalities: modality names in fusion order.
    tasks: task -> number of classes; chance of a task's macro accuracy is one over it.
    train: examples the model is trained on.
    probe: labelled examples the probes are fitted on.
    val: examples that select costs and checkpoints.
    test: examples that only the final numbers are computed on.
    transforms: modality -> `Transform`.
    fingerprint: hash of the arrays and pairs: equal data, equal fingerprint.
    facts: what a reader of the results should know about the data (label rates, sizes).
  """

  name: str
  modalities: tuple[str, ...]
  tasks: Mapping[str, int]
  train: Split
  probe: Split
  val: Split
  test: Split
  transforms: Mapping[str, Transform]
  fingerprint: str
  facts: Mapping[str, object]
