"""Irony: examples one modality of which is another example's, of a class that contradicts their own.

`config.data.irony` = rho does it to any labelled dataset of two or more modalities, split by split: of N
examples of C classes, round(rho N / C) take the modality `config.data.irony_modality` of a donor, and the
label "irony", a class of its own. Neither modality alone tells it (SynIB, CREMA-D-Irony;
docs/spec/synib.md 4.2). Examples that lack a modality are none of the N, and no donors: nothing would
contradict anything.
"""

import dataclasses
import functools
import hashlib
import json
import math
import numbers
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from synjax.data import fields, pipeline
from synjax.data.pipeline import Dataset, Split
from synjax.trial import Trial

NAME = "irony"
# Dataset -> for each class the classes that contradict it; of others every other class does.
CONTRADICTS: Mapping[str, tuple[tuple[int, ...], ...]] = {
  # Neutral, happy, sad, fear, disgust, anger.
  "cremad": ((1, 2, 3, 4, 5), (2, 3, 4, 5), (1,), (1,), (1,), (1,)),
}
_SPLITS = ("train", "probe", "val", "test")
_STALE = ("examples_per_class", "majority_share")  # facts that are no longer true


@dataclasses.dataclass(frozen=True)
class _Plan:
  """What is done to every split: the rate, the modality taken from donors, who contradicts whom."""

  rate: float
  seed: int
  modality: str
  contradicts: np.ndarray
  num_sources: int

  @property
  def label(self) -> int:
    """The new class."""
    return len(self.contradicts)

  def count(self, num_examples: int) -> int:
    """Returns how many of so many examples become ironic."""
    return min(round(self.rate * num_examples / self.label), num_examples)


def apply(dataset: Dataset, config) -> Dataset:
  """Returns the dataset that `config.data.irony` asks for; the dataset itself where it is 0 or not there.

  Stored data are changed once, by `config.data.irony_seed`, for all runs on them; data that are made for
  every trial by the trial's seed too.

  Raises:
    ValueError: a rate below 0, or one that makes none or all of a split ironic; data with one
      modality, without classes, with a class "irony", streamed, or whose examples are not one row each;
      an unknown modality; or a class without another that contradicts it in a split.
  """
  rate = config.data.get("irony") or 0.0
  if rate == 0:
    return dataset
  plan = _plan(dataset, config, rate)
  made: dict[int, Split] = {}
  for i, name in enumerate(_SPLITS):
    split = getattr(dataset, name)
    if id(split) not in made:  # the probe's examples are those of training
      made[id(split)] = _mutate(dataset, split, plan, name, i)
  splits = {name: made[id(getattr(dataset, name))] for name in _SPLITS}
  task = _task(dataset)
  decides = [rate, plan.seed, plan.modality]
  counts = {n: getattr(dataset, n) for n in splits if n != "probe"}
  said = ", ".join(
    f"{name}: {plan.count(len(_complete(dataset, split)))} of {split.num_examples}"
    for name, split in counts.items()
  )
  names = {k: (*v, NAME) if k == task else v for k, v in dataset.class_names.items()}
  return dataclasses.replace(
    dataset,
    **splits,
    tasks={**dataset.tasks, task: plan.label + 1},
    num_classes=plan.label + 1,
    sources=(*dataset.sources, NAME) if dataset.sources else (),
    class_names=names,
    fingerprint=_hash(dataset.fingerprint, decides),
    split_fingerprints={k: _hash(v, decides) for k, v in dataset.split_fingerprints.items()},
    facts={k: v for k, v in dataset.facts.items() if k not in _STALE}
    | {NAME: f"{plan.modality} of another example, {said}"},
    stand_in=dataset.stand_in
    or f"config.data.irony {rate:g}: labels and {plan.modality} are changed",
    irony=plan.label,
  )


def _task(dataset: Dataset) -> str:
  """Names the task whose labels are changed."""
  return dataset.task or next(iter(dataset.tasks))


def _hash(fingerprint: str, decides: list) -> str:
  return hashlib.sha256(json.dumps([NAME, fingerprint, decides]).encode()).hexdigest()[:16]


def _plan(dataset: Dataset, config, rate: float) -> _Plan:
  """Checks the fields and the data."""
  if isinstance(rate, bool) or not isinstance(rate, numbers.Real) or not 0 < rate < math.inf:
    raise ValueError(f"config.data.irony: expected a number of 0 or more, found {rate!r}")
  if dataset.tasks and not dataset.num_classes:
    raise ValueError(
      "config.data.task: expected the labels that config.data.irony changes, one of"
      f" {', '.join(dataset.tasks)}, found {dataset.task!r}; choose one, or set config.data.irony to 0"
    )
  if len(dataset.modalities) < 2 or dataset.num_classes < 2 or dataset.label_kind != "classes":
    raise ValueError(
      f"config.data.irony: expected classes and two modalities or more, found {dataset.num_classes}"
      f" classes and {dataset.modalities} in {dataset.name}; set it to 0"
    )
  task = _task(dataset)
  if NAME in dataset.class_names.get(task, ()):
    raise ValueError(
      f"config.data.irony: expected labels without a class {NAME!r}, which it adds, found one in {task};"
      " give that class another name in the data, or set it to 0"
    )
  modality = config.data.irony_modality or dataset.modalities[0]
  if modality not in dataset.modalities:
    raise ValueError(
      f"config.data.irony_modality: expected one of {dataset.modalities}, found {modality!r}"
    )
  classes = dataset.num_classes
  contradicts = ~np.eye(classes, dtype=bool)
  if dataset.name in CONTRADICTS:
    listed = CONTRADICTS[dataset.name]
    contradicts = np.array([[c in own for c in range(classes)] for own in listed])
  return _Plan(rate, config.data.irony_seed, modality, contradicts, len(dataset.sources))


def _mutate(dataset: Dataset, split: Split, plan: _Plan, name: str, stream: int) -> Split:
  if split.gather is not pipeline.gather_rows:
    why = "is streamed: raise config.data.resident_gb" if split.rows is not None else "makes them"
    raise ValueError(
      f"config.data.irony: expected examples in memory, one row each, found that {dataset.name} {why}, or"
      " choose other data"
    )
  complete = _complete(dataset, split)
  count = plan.count(len(complete))
  if not 0 < count < len(complete):
    raise ValueError(
      f"config.data.irony: {name}: expected a rate that makes some of its {len(complete)} examples that"
      f" have every modality ironic, and leaves some, found {plan.rate:g}, which makes {count};"
      " choose one between, or set it to 0"
    )
  if split.generate is not None:
    generate = functools.partial(_generate, split=split, plan=plan, stream=stream)
    return dataclasses.replace(split, generate=generate)
  label = split.arrays["label"][complete]
  lonely = [c for c in np.unique(label) if not np.isin(label, plan.contradicts[c].nonzero()).any()]
  if lonely:
    raise ValueError(
      f"config.data.irony: {name}: expected examples of classes that contradict each class, found none"
      f" for {lonely}; leave these classes out, or set it to 0"
    )
  key = _key(plan.seed, plan, stream)
  drawn = jax.device_get(draw(key, label, plan.contradicts, count))
  rows, donors = (complete[positions] for positions in drawn)
  arrays = {k: v.copy() if _changes(k, plan) else v for k, v in split.arrays.items()}
  for field, value in arrays.items():
    if fields.modality_of(field, [plan.modality]):
      value[rows] = split.arrays[field][donors]
  arrays["label"][rows] = plan.label
  return dataclasses.replace(
    split,
    arrays=arrays,
    labels={**split.labels, _task(dataset): arrays["label"]},
    lengths=_lengths(dataset, arrays, split.lengths),
  )


def _complete(dataset: Dataset, split: Split) -> np.ndarray:
  """Returns which examples have every modality, as positions."""
  present = np.ones(split.num_examples, bool)
  for modality in dataset.modalities if split.generate is None else ():
    own = fields.present(split.arrays, modality)
    present &= True if own is None else own
  return np.flatnonzero(present)


def _changes(field: str, plan: _Plan) -> bool:
  return field in ("label", "source") or fields.modality_of(field, [plan.modality]) is not None


def _lengths(dataset: Dataset, arrays: Mapping, before: np.ndarray | None) -> np.ndarray | None:
  """Returns the longest sequence of every example; None where nothing is padded."""
  found = [fields.length(arrays, name) for name in dataset.modalities]
  found = [lengths for lengths in found if lengths is not None]
  if before is None or not found:
    return before
  return np.maximum(np.max(found, axis=0), 1).astype(np.int32)


def _generate(trial: Trial, *, split: Split, plan: _Plan, stream: int) -> dict[str, jax.Array]:
  """Makes a trial's examples and mutates them."""
  arrays = dict(split.generate(trial))
  key, count = _key(trial.seed, plan, stream), plan.count(split.num_examples)
  rows, donors = draw(key, arrays["label"], plan.contradicts, count)
  for field, value in arrays.items():
    if fields.modality_of(field, [plan.modality]):
      arrays[field] = value.at[rows].set(value[donors])
  marks = {"label": plan.label, "source": plan.num_sources}
  return arrays | {k: arrays[k].at[rows].set(v) for k, v in marks.items() if k in arrays}


def _key(seed, plan: _Plan, stream: int) -> jax.Array:
  # Other generators give other draws under vmap than alone.
  key = jax.random.fold_in(jax.random.key(seed, impl="threefry2x32"), plan.seed)
  return jax.random.fold_in(key, stream)


@functools.partial(jax.jit, static_argnames="count")
def draw(
  key: jax.Array, label: jax.Array, contradicts: jax.Array, count: int
) -> tuple[jax.Array, jax.Array]:
  """Draws who becomes ironic, and whose modality each gets.

  Args:
    key: of the split.
    label: int[examples], in [0, C).
    contradicts: bool[C, C]: whether examples of the second class are donors for the first.
    count: how many, at most `examples`.

  Returns:
    (rows int[count], without repeats; donors int[count], each uniform over the examples, as they were,
    whose class contradicts that of its row).
  """
  rows = jax.random.permutation(jax.random.fold_in(key, 0), len(label))[:count]
  own = label[rows]
  before = jnp.cumsum(contradicts[:, label], axis=1)  # [C, examples]
  keys = jax.vmap(functools.partial(jax.random.fold_in, jax.random.fold_in(key, 1)))(rows)
  pool = jnp.maximum(before[own, -1], 1)
  rank = jax.vmap(lambda k, size: jax.random.randint(k, (), 0, size))(keys, pool)
  found = jnp.stack([jnp.searchsorted(of_class, rank + 1) for of_class in before])
  return rows, jnp.take_along_axis(found, own[None], axis=0)[0]
