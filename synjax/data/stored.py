"""Datasets of stored examples: padded to static shapes, on the device or streamed.

Between what holds the examples (`shards.Shards`) and `pipeline.Dataset`. A split that
fits stays on the device; a larger one is read while it is used. Both go through `StoredRows.read`, so
both give the same batches.
"""

import copy
import dataclasses
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np

from synjax.data import pipeline, shards

logger = logging.getLogger("synjax")

PADDINGS = ("fixed", "bucket", "batch_max")


@dataclasses.dataclass(frozen=True)
class Field:
  """A modality of stored examples.

  Attributes:
    name: of the modality.
    feature: of the stored example.
    length: longest sequence [steps, features]: longer ones keep their first steps, shorter ones are
      zero-padded at the end. None: all examples have one shape, nothing is padded.
    prepare: stored value -> value of the modality, before padding.
  """

  name: str
  feature: str
  length: int | None = None
  prepare: Callable[[np.ndarray], np.ndarray] = lambda value: value


class StoredRows:
  """The examples of a split, read by random access; a `pipeline.RowReader`.

  Attributes:
    columns: `label`, where the dataset has one.
    labels: task -> labels of every example.
    lengths: int32[examples], of the longest padded modality; None when none is padded.
    origin: which examples of the source these are.
  """

  def __init__(
    self,
    source: Sequence[Mapping[str, object]],
    fields: Sequence[Field],
    *,
    rows: np.ndarray | None = None,
    lengths: np.ndarray | None = None,
    labels: Mapping[str, np.ndarray],
    label: str | None = None,
    file: str = "",
    ready: Mapping[str, tuple[np.ndarray, np.ndarray]] | None = None,
  ):
    """Describes a split.

    Args:
      source: stored examples; `__getitems__(list of rows)` where there is one.
      fields: modalities to read.
      rows: which examples of the source, in order; None: all.
      lengths: steps of each of these examples before they are cut to `Field.length`.
      labels: task -> labels of these examples.
      label: the task that `label` is taken from; None: no `label`.
      file: what the source is called in `Origin`.
      ready: further padded modalities of these examples that are in memory: name -> ([examples, length,
        ...], steps int32[examples]).
    """
    self._ready = dict(ready or {})
    self._source, self._fields = source, tuple(fields)
    self._rows = np.arange(len(source)) if rows is None else np.asarray(rows)
    self.origin = pipeline.Origin(file, self._rows)
    self.labels = dict(labels)
    self.columns = {} if label is None else {"label": self.labels[label].astype(np.int32)}
    longest = max((field.length for field in self._fields if field.length), default=None)
    if self._ready:
      longest_ready = np.max([steps for _, steps in self._ready.values()], axis=0)
      self.lengths = np.maximum(longest_ready, 1).astype(np.int32)
    elif longest is None:
      self.lengths = None
    elif lengths is None:
      raise ValueError("StoredRows: padded modalities need lengths")
    else:
      self.lengths = np.clip(lengths, 1, longest).astype(np.int32)

  def __len__(self) -> int:
    """Returns the number of examples."""
    return len(self._rows)

  def read(self, index: np.ndarray, length: int | None = None) -> dict[str, np.ndarray]:
    """Reads examples as a padded batch, see `pipeline.RowReader`."""
    rows = [int(row) for row in self._rows[index]] if self._fields else []
    many = getattr(self._source, "__getitems__", None)
    examples = many(rows) if many else [self._source[row] for row in rows]
    batch = {}
    for field in self._fields:
      values = [field.prepare(np.asarray(example[field.feature])) for example in examples]
      if field.length is None:
        batch[field.name] = np.stack(values)
      else:
        steps = min(length or field.length, field.length)
        batch[field.name], batch[f"{field.name}_length"] = pad(values, steps)
    for name, (values, steps) in self._ready.items():
      batch[name] = values[index][:, :length]
      batch[f"{name}_length"] = steps[index]
    return batch | {name: column[index] for name, column in self.columns.items()}

  def without(self, names: Collection[str]) -> "StoredRows":
    """Returns the same examples without some modalities, see `pipeline.RowReader`."""
    other = copy.copy(self)
    other._fields = tuple(field for field in self._fields if field.name not in names)
    other._ready = {name: own for name, own in self._ready.items() if name not in names}
    return other


def read_all(rows: pipeline.RowReader, what: str) -> dict[str, np.ndarray]:
  """Reads a whole split, each array [examples, ...]; shows progress named `what`."""
  arrays: dict[str, np.ndarray] = {}
  for chunk in shards.chunks(len(rows), what):
    index = np.asarray(chunk)
    for name, part in rows.read(index).items():
      if name not in arrays:
        arrays[name] = np.empty((len(rows), *part.shape[1:]), part.dtype)
      arrays[name][index] = part
  return arrays


def nbytes(rows: pipeline.RowReader) -> int:
  """Returns the size of a whole split as arrays."""
  return len(rows) * sum(value.nbytes for value in rows.read(np.array([0])).values())


def are_resident(rows: Iterable[pipeline.RowReader], name: str, resident_gb: float) -> bool:
  """Says, and logs, whether splits stay on the device: all together fit into `resident_gb` 10^9 bytes.

  Args:
    rows: of the splits; those that share one have it once.
    name: of the dataset.
    resident_gb: `config.data.resident_gb`.
  """
  size = sum(nbytes(reader) for reader in {id(reader): reader for reader in rows}.values())
  resident = size <= resident_gb * 1e9
  logger.info(
    "%s: %.2f GB, %s", name, size / 1e9, "on the device" if resident else "streamed from disk"
  )
  return resident


def pad(sequences: Sequence[np.ndarray], length: int) -> tuple[np.ndarray, np.ndarray]:
  """Pads sequences with zeros at the end, or cuts them to their first `length` steps.

  Args:
    sequences: each [steps, features].
    length: steps of the result.

  Returns:
    (float32[batch, length, features], lengths int32[batch]).
  """
  padded = np.zeros((len(sequences), length, sequences[0].shape[1]), np.float32)
  lengths = np.array([min(len(sequence), length) for sequence in sequences], np.int32)
  for row, sequence, steps in zip(padded, sequences, lengths, strict=True):
    row[:steps] = sequence[:steps]
  return padded, lengths


def make_padding(config, longest: int | None) -> pipeline.Padding:
  """Returns how a run pads: `config.data.padding`, or what its protocol says.

  Args:
    config: the run's config; `data.padding` is one of `PADDINGS` or None (`clean`: "fixed", `paper`:
      "batch_max"), `data.buckets` are lengths, rising.
    longest: steps of the longest padded modality; None: none is padded.

  Raises:
    ValueError: an unknown padding, or buckets that are not rising or too short for the longest.
  """
  if longest is None:
    return pipeline.Padding()
  mode = config.data.padding or ("batch_max" if config.protocol == "paper" else "fixed")
  if mode not in PADDINGS:
    raise ValueError(f"config.data.padding: expected one of {PADDINGS}, found {mode!r}")
  if mode != "bucket":
    return pipeline.Padding(mode)
  bounds = tuple(config.data.buckets)
  if not bounds or list(bounds) != sorted(set(bounds)) or bounds[0] < 1 or bounds[-1] < longest:
    raise ValueError(
      f"config.data.buckets: expected rising lengths up to at least {longest} (the longest sequence),"
      f" found {bounds}"
    )
  return pipeline.Padding(mode, bounds)


def make_splits(
  rows: Mapping[str, StoredRows], name: str, resident_gb: float
) -> dict[str, pipeline.Split]:
  """Makes the splits of a dataset: on the device when all together fit, streamed otherwise.

  Args:
    rows: split -> its examples.
    name: of the dataset, for progress.
    resident_gb: budget in 10^9 bytes.

  Returns:
    split -> `Split`.

  Raises:
    ValueError: a split without examples.
  """
  empty = [split for split, reader in rows.items() if not len(reader)]
  if empty:
    raise ValueError(f"{name}: expected examples in every split, found none in {empty}")
  unique = {id(reader): reader for reader in rows.values()}
  resident = are_resident(unique.values(), name, resident_gb)
  made = {}
  for key, reader in unique.items():
    labelled = (len(reader), reader.labels)
    if resident:
      arrays = read_all(reader, name)
      made[key] = pipeline.Split(arrays, *labelled, lengths=reader.lengths, origin=reader.origin)
    else:
      made[key] = pipeline.Split(
        {},
        *labelled,
        pipeline.already_gathered,
        rows=reader,
        lengths=reader.lengths,
        origin=reader.origin,
      )
  return {split: made[id(reader)] for split, reader in rows.items()}
