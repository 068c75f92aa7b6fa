"""Datasets as splits of static shape: what is stored, and how a batch is gathered from it.

Second stage of a run: `data.load(config)` returns a `Dataset`, the loop asks `TrainOrder` which
examples come next and gathers them on the device.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synjax.trial import Trial

Batch = Mapping[str, jax.Array]
PROTOCOLS = ("clean", "paper")  # of every dataset, see README


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
    generate: of a dataset made on the device, `Trial` -> further arrays for `gather`, so that runs
      that are trained together have data of their own; `labels` is then empty and what `gather`
      returns is the truth. None: stored data, shared by all runs.
  """

  arrays: Mapping[str, np.ndarray]
  num_examples: int
  labels: Mapping[str, np.ndarray]
  gather: Callable[[Mapping[str, jax.Array], jax.Array], dict[str, jax.Array]] = gather_rows
  generate: Callable[[Trial], Mapping[str, jax.Array]] | None = None


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
    num_classes: number of values of `label`, for methods that learn from labels.
    sources: names of what can carry an example's label; `gather` then also returns `source`
      int32[batch], an index into them. (): not known.
    informative: modality -> bool[features]: the features that carry synergy, which an oracle mask
      corrupts. Empty: not known.
    traced: config fields that `generate` reads from `Trial.hyper`.
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
  num_classes: int = 0
  sources: tuple[str, ...] = ()
  informative: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  traced: tuple[str, ...] = ()


def make_views(
  raw: Mapping[str, jax.Array],
  transforms: Mapping[str, Transform],
  views: Sequence[str],
  keys: Callable[[str], jax.Array],
) -> dict[str, dict[str, jax.Array]]:
  """Makes the views of a gathered batch.

  Modalities and views that share a transform are transformed in one call.

  Args:
    raw: what `Split.gather` returned, and `index`, `valid`.
    transforms: modality -> `Transform`; a modality that is not in `raw` is left out.
    views: "clean" for the evaluation transform; any other name for an augmentation of its own.
    keys: stream name -> keys [batch]; the stream is "<view>/<modality>".

  Returns:
    view -> `raw` with every modality transformed.
  """
  calls: dict[tuple, list[tuple[str, str]]] = {}
  for view in views:
    for name in [name for name in transforms if name in raw]:
      transform = transforms[name]
      function = transform.evaluate if view == "clean" else transform.augment
      calls.setdefault((function, raw[name].shape, raw[name].dtype), []).append((view, name))
  batches = {view: dict(raw) for view in views}
  for (function, _, _), uses in calls.items():
    all_keys = jnp.concatenate([keys(f"{view}/{name}") for view, name in uses])
    made = function(all_keys, jnp.concatenate([raw[name] for _, name in uses]))
    for (view, name), part in zip(uses, jnp.split(made, len(uses)), strict=True):
      batches[view][name] = part
  return batches


class TrainOrder:
  """The order in which training examples come: a function of seed and step, so nothing to store.

  Every epoch is a fresh permutation of the split.
  """

  def __init__(
    self, num_examples: int, batch_size: int, seeds: np.ndarray, *, keep_partial: bool = False
  ):
    """Checks the sizes.

    Args:
      num_examples: of the split.
      batch_size: of all devices together.
      seeds: [trials].
      keep_partial: fill the last batch of an epoch with index -1 instead of dropping it.

    Raises:
      ValueError: a batch does not fit into the split.
    """
    if not 1 <= batch_size <= num_examples:
      raise ValueError(
        f"config.batch_size: expected 1 to {num_examples} (the training examples), found {batch_size}"
      )
    self.num_examples, self.batch_size, self.seeds = num_examples, batch_size, seeds
    self.steps_per_epoch = (num_examples + keep_partial * (batch_size - 1)) // batch_size
    self._permutations: tuple[int, np.ndarray] = (-1, np.empty(0))

  def _epoch(self, epoch: int) -> np.ndarray:
    if self._permutations[0] != epoch:
      rows = [
        np.random.default_rng([int(seed), epoch]).permutation(self.num_examples)
        for seed in self.seeds
      ]
      filler = max(0, self.steps_per_epoch * self.batch_size - self.num_examples)
      padded = np.pad(np.stack(rows), ((0, 0), (0, filler)), constant_values=-1)
      self._permutations = epoch, padded.astype(np.int32)
    return self._permutations[1]

  def take(self, step: int, num_steps: int) -> np.ndarray:
    """Returns the examples of steps [step, step + num_steps), int32[seeds, num_steps, batch]."""
    batches = []
    for s in range(step, step + num_steps):
      epoch, position = divmod(s, self.steps_per_epoch)
      start = position * self.batch_size
      batches.append(self._epoch(epoch)[:, start : start + self.batch_size])
    return np.stack(batches, axis=1)


def evaluation_order(num_examples: int, batch_size: int) -> np.ndarray:
  """Returns all examples in order as int32[num_batches, batch], padded with repeats of the last."""
  num_batches = -(-num_examples // batch_size)
  index = np.minimum(np.arange(num_batches * batch_size), num_examples - 1)
  return index.reshape(num_batches, batch_size).astype(np.int32)
