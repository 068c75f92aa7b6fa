"""Datasets as splits of static shape: what is stored, and how a batch is gathered from it.

Second stage of a run: `data.load(config)` returns a `Dataset`, the loop asks `TrainOrder` which
examples come next and gathers them on the device.
"""

import dataclasses
import functools
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Protocol

import jax
import jax.numpy as jnp
import numpy as np

from synjax.data import fields
from synjax.trial import Trial

Batch = Mapping[str, jax.Array]
PROTOCOLS = ("clean", "paper")  # of every dataset, see README


def gather_rows(arrays: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
  """Takes rows `index` of every array: the gather of datasets stored one row an example."""
  return {name: jnp.take(array, index, axis=0) for name, array in arrays.items()}


def already_gathered(arrays: Mapping[str, jax.Array], index: jax.Array) -> dict[str, jax.Array]:
  """Returns the arrays: the gather of streamed splits, whose arrays are one batch."""
  del index
  return dict(arrays)


class RowReader(Protocol):
  """Random access to the examples of a split that stay on disk."""

  columns: Mapping[
    str, np.ndarray
  ]  # `label`, and what else `gather` gives one number an example of

  def __len__(self) -> int:
    """Returns the number of examples."""

  def read(self, index: np.ndarray, length: int | None = None) -> dict[str, np.ndarray]:
    """Reads examples `index` int[batch] as a batch on the host.

    Returns:
      modality -> [batch, ...]; a sequence [batch, length, features] is zero-padded at the end to
      `length` (None: the dataset's longest) and has `<modality>_length` int32[batch]; and `label`.
    """

  def without(self, names: Collection[str]) -> "RowReader":
    """Returns the same examples without some modalities, which are then not read."""


@dataclasses.dataclass(frozen=True)
class Origin:
  """Where the examples of a split come from.

  Attributes:
    file: name of the file, or of the stored split.
    index: int[num_examples], their rows in it.
    ids: their names, texts or integers [num_examples]; None: they have none.
  """

  file: str
  index: np.ndarray
  ids: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Split:
  """The examples of one split, small enough to live on the device.

  Attributes:
    arrays: name -> array, placed on the device once and never copied to the host again.
    num_examples: how many examples `gather` can address.
    labels: task -> int[num_examples], of several labels an example int[num_examples, labels] of 0 and 1,
      of a regression float[num_examples, outputs]; on the host, for probes.
    gather: (arrays, index int32[batch]) -> modality name -> [batch, ...] and `label` [batch], of several
      labels an example [batch, labels]; traced inside the compiled step.
    generate: of a dataset made on the device, `Trial` -> further arrays for `gather`, so that runs
      that are trained together have data of their own; `labels` is then empty and what `gather`
      returns is the truth. None: stored data, shared by all runs.
    rows: of a split too large for the device: where its batches are read from while it is used;
      `arrays` is then empty and `gather` is `already_gathered`. None: on the device.
    lengths: int32[num_examples], on the host: length of an example's longest sequence, which decides
      how far its batch is padded. None: no modality is padded.
    origin: which examples of the user's files these are. None: they are made, not read.
  """

  arrays: Mapping[str, np.ndarray]
  num_examples: int
  labels: Mapping[str, np.ndarray]
  gather: Callable[[Mapping[str, jax.Array], jax.Array], dict[str, jax.Array]] = gather_rows
  generate: Callable[[Trial], Mapping[str, jax.Array]] | None = None
  rows: RowReader | None = None
  lengths: np.ndarray | None = None
  origin: Origin | None = None

  def having(self, modalities: Sequence[str]) -> np.ndarray | None:
    """Returns which examples have at least one of these modalities, bool[examples]; None: all do."""
    stored = self.arrays if self.rows is None else self.rows.columns
    found = [fields.present(stored, name) for name in modalities]
    return None if any(own is None for own in found) else np.any(found, axis=0)

  def read(self, index: np.ndarray) -> dict[str, jax.Array]:
    """Returns a few examples of stored data as one gathered batch."""
    if self.rows is not None:
      return {name: jnp.asarray(value) for name, value in self.rows.read(index).items()}
    arrays = {name: jnp.asarray(array) for name, array in self.arrays.items()}
    return self.gather(arrays, jnp.asarray(index, jnp.int32))


@dataclasses.dataclass(frozen=True)
class Transform:
  """How one modality turns into the inputs of a model, batched and on the device.

  Both functions are called as f(keys [batch], stored values [batch, ...], view_keys=keys [batch],
  valid=bool[batch, length] or None) and return float values of the shape the model sees. Every
  transform takes all of it and uses what it needs: `keys` are the modality's own, `view_keys` those
  that all modalities of a view share, for decisions made jointly; `valid` is given for sequences.
  `augment` makes the views "aug1", "aug2", ...; `evaluate` makes the view "clean".
  """

  augment: Callable[..., jax.Array]
  evaluate: Callable[..., jax.Array]


def unchanged(keys, values: jax.Array, *, view_keys=None, valid=None) -> jax.Array:
  """Leaves values as they are: the transform of features that are neither augmented nor scaled."""
  del keys, view_keys, valid
  return values


@dataclasses.dataclass(frozen=True)
class Padding:
  """How far the sequences of a batch are padded, which decides the shape a step is compiled for.

  Attributes:
    mode: "fixed": to the dataset's longest, one program; "bucket": to the smallest of `bounds` that
      holds the batch; "batch_max" (published): to the batch's longest, and padding is not marked, so
      that models take it for data and features depend on the rest of the batch.
    bounds: lengths of the buckets, rising.
  """

  mode: str = "fixed"
  bounds: tuple[int, ...] = ()

  @property
  def marked(self) -> bool:
    """Says whether models are told which steps are padding."""
    return self.mode != "batch_max"

  def groups(self, num_trials: int) -> list[slice]:
    """Returns which trials share a call of the compiled step: all, or each alone.

    Where a batch decides its length, trials in one call would be padded to the longest of their batches:
    padding that is not marked is data, and draws have the padded shape, so that a trial's numbers would
    depend on the others.
    """
    if self.mode == "fixed":
      return [slice(0, num_trials)]
    return [slice(i, i + 1) for i in range(num_trials)]

  def length(self, longest: int) -> int | None:
    """Returns the length for a batch whose longest sequence has `longest` steps; None: as stored."""
    if self.mode == "fixed":
      return None
    if self.mode == "batch_max":
      return longest
    return next((bound for bound in self.bounds if bound >= longest), None)

  def lengths(self, split: Split, index: np.ndarray) -> list[int | None]:
    """Returns the length of every batch of `index` int[..., batches, batch]; -1 is filler.

    Leading axes are trials of one group (`groups`).
    """
    if split.lengths is None or self.mode == "fixed":
      return [None] * index.shape[-2]
    longest = np.where(index < 0, 1, split.lengths[np.maximum(index, 0)])
    longest = np.moveaxis(longest, -2, 0).reshape(index.shape[-2], -1).max(axis=1)
    return [self.length(int(steps)) for steps in longest]


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
    split_fingerprints: "train", "val", "test" -> the same of one split; empty: not known.
    facts: what a reader of the results should know about the data (label rates, sizes).
    num_classes: number of values of `label`, for methods that learn from labels; of several labels an
      example how many.
    sources: names of what can carry an example's label; `gather` then also returns `source`
      int32[batch], an index into them. (): not known.
    informative: modality -> bool[features]: the features that carry synergy, which an oracle mask
      corrupts. Empty: not known.
    bases: modality -> orthogonal Q float32[features, features]: its values are Q s, standardised, and
      `informative` names features of s; batches of `train` then have the `<modality>_mean` and
      `<modality>_deviation` [batch, features] that Q s was standardised by. Empty: values are s.
    predictive: modality -> bool[features]: the features that tell the label without the other modalities,
      which learned masks are to flag. Empty: not known.
    synergies: which of `sources` carry the label in no modality alone. (): not known.
    traced: config fields that `generate` reads from `Trial.hyper`.
    regressions: task -> number of outputs; its labels are float32[num_examples, outputs].
    multilabels: task -> number of labels, any of which an example may have.
    task: which of them `label` is, for methods that learn from labels; "": there is no `label`, or it has
      no name of its own.
    called: what the scores of classifiers call what they learn.
    label_kind: what `label` is, for methods that learn from labels: "classes", one of `num_classes`, or
      "multilabel", `num_classes` of 0 and 1.
    padding: of the sequences.
    published_validation: whether the published probes have a validation split to choose costs on.
    class_names: task -> what its classes, or labels, are called in the user's files: str, int or bool.
      Empty: their numbers.
    standardization: modality -> {"mean": [features], "deviation": [features]} that its values have been
      standardised by, which new examples need too. Empty: they are as they are stored.
    stand_in: why these are not the data of that name that results were published for: a fixture, other
      row counts, another resolution. "": they are, or nobody published any.
    irony: the class of examples that have a modality of another one, see `data.irony`; None: none have.
    vocabularies: modality -> number of token ids, of those that are texts.
    augments_clean: True: in a training step the view "clean" is an augmentation too, of classifiers that
      are published so.
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
  split_fingerprints: Mapping[str, str] = dataclasses.field(default_factory=dict)
  num_classes: int = 0
  sources: tuple[str, ...] = ()
  informative: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  bases: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  predictive: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
  synergies: tuple[str, ...] = ()
  traced: tuple[str, ...] = ()
  regressions: Mapping[str, int] = dataclasses.field(default_factory=dict)
  multilabels: Mapping[str, int] = dataclasses.field(default_factory=dict)
  task: str = ""
  called: str = "label"
  label_kind: str = "classes"
  padding: Padding = Padding()
  published_validation: bool = False
  class_names: Mapping[str, tuple] = dataclasses.field(default_factory=dict)
  standardization: Mapping[str, Mapping[str, Sequence[float]]] = dataclasses.field(
    default_factory=dict
  )
  stand_in: str = ""
  irony: int | None = None
  vocabularies: Mapping[str, int] = dataclasses.field(default_factory=dict)
  augments_clean: bool = False

  @property
  def training_transforms(self) -> Mapping[str, Transform]:
    """Returns the transforms of a training step."""
    if not self.augments_clean:
      return self.transforms
    return {
      name: dataclasses.replace(own, evaluate=own.augment) for name, own in self.transforms.items()
    }

  def __post_init__(self):
    """Raises ValueError for names of modalities that batches could not tell apart."""
    fields.check_names(self.modalities)


def cut(raw: Mapping[str, jax.Array], length: int | None) -> dict[str, jax.Array]:
  """Shortens the padded sequences of a gathered batch to `length` steps; None: leaves them."""
  padded = {name for name in raw if fields.length(raw, name) is not None}
  return {name: value[:, :length] if name in padded else value for name, value in raw.items()}


def make_views(
  raw: Mapping[str, jax.Array],
  transforms: Mapping[str, Transform],
  views: Sequence[str],
  keys: Callable[[str], jax.Array],
  padding: Padding = Padding(),
) -> dict[str, dict[str, jax.Array]]:
  """Makes the views of a gathered batch.

  Modalities and views that share a transform are transformed in one call.

  Args:
    raw: what `Split.gather` returned, and `index`, `valid`.
    transforms: modality -> `Transform`; a modality that is not in `raw` is left out.
    views: "clean" for the evaluation transform; any other name for an augmentation of its own.
    keys: stream name -> keys [batch]; the streams are "<view>/<modality>" and "<view>".
    padding: of the dataset.

  Returns:
    view -> `raw` with every modality transformed; `<modality>_length` has become `<modality>_valid`,
    or is gone when padding is not marked. What stands in the place of an absent modality is 0 before it
    is transformed, whatever was stored, and none of its steps is valid.
  """
  raw = dict(raw)
  lengths = {name: raw.pop(fields.companion(name, "length"), None) for name in transforms}
  valid = {
    name: jnp.arange(raw[name].shape[1]) < n[:, None]
    for name, n in lengths.items()
    if n is not None
  }
  for name in [name for name in transforms if fields.present(raw, name) is not None]:
    present = fields.present(raw, name)
    raw[name] = jnp.where(present.reshape(-1, *(1,) * (raw[name].ndim - 1)), raw[name], 0)
    if name in valid:
      valid[name] = fields.both(present, valid[name])
  kept = dict(raw)
  if padding.marked:
    kept |= {fields.companion(name, "valid"): value for name, value in valid.items()}
  calls: dict[tuple, list[tuple[str, str]]] = {}
  for view in views:
    for name in [name for name in transforms if name in raw]:
      transform = transforms[name]
      function = transform.evaluate if view == "clean" else transform.augment
      kind = (function, raw[name].shape, raw[name].dtype, name in valid)
      calls.setdefault(kind, []).append((view, name))
  batches = {view: dict(kept) for view in views}
  for (function, _, _, padded), uses in calls.items():
    join = lambda parts: jnp.concatenate(list(parts))  # noqa: E731
    made = function(
      join(keys(f"{view}/{name}") for view, name in uses),
      join(raw[name] for _, name in uses),
      view_keys=join(keys(view) for view, _ in uses),
      valid=join(valid[name] for _, name in uses) if padded else None,
    )
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
    # Reading ahead asks for two epochs in turn, from several threads.
    self._epoch = functools.lru_cache(maxsize=2)(self._draw_epoch)

  def _draw_epoch(self, epoch: int) -> np.ndarray:
    rows = [
      np.random.default_rng([int(seed), epoch]).permutation(self.num_examples)
      for seed in self.seeds
    ]
    filler = max(0, self.steps_per_epoch * self.batch_size - self.num_examples)
    padded = np.pad(np.stack(rows), ((0, 0), (0, filler)), constant_values=-1)
    return padded.astype(np.int32)

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
