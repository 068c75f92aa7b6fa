"""Reads TFDS datasets that `data_prep.convert` has written; TensorFlow is not needed."""

import hashlib
import json
import os
import pathlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

import numpy as np
from tqdm import tqdm

from synjax.data import shard_checks

VERSION = "1.0.0"  # what this reader understands; `data_prep` counts it up when a rule changes
_CHUNK = 256  # examples read at once


class Shards:
  """One TFDS dataset in a folder.

  Attributes:
    folder: where it lies.
    metadata: what its converter recorded.
    counts: split -> examples.
  """

  def __init__(self, data_dir: str | os.PathLike, name: str, config: str, command: str):
    """Opens a dataset.

    Args:
      data_dir: `config.data.data_dir`.
      name: of the builder.
      config: of the builder.
      command: that writes it, for messages.

    Raises:
      ValueError: there is none, or it cannot be read.
    """
    import tensorflow_datasets as tfds  # a second to import, and generated datasets never need it

    self.folder = pathlib.Path(data_dir).expanduser() / name / config / VERSION
    self._command = command
    if not (self.folder / "dataset_info.json").exists():
      raise ValueError(
        f"config.data.data_dir: expected the dataset {name}/{config} version {VERSION} in"
        f" {pathlib.Path(data_dir).expanduser().absolute()}, found none. Write it with: {command}"
      )
    try:
      shard_checks.check_folder(self.folder)
      self._builder = tfds.builder_from_directory(self.folder)
      self.counts = {
        name: int(split.num_examples) for name, split in self._builder.info.splits.items()
      }
      self.metadata: Mapping = shard_checks.read_metadata(self.folder, self.counts)
    except Exception as error:  # whatever a damaged folder raises
      raise self._damaged(error) from error

  def _damaged(self, error: Exception) -> ValueError:
    return ValueError(
      f"{self.folder}: expected a TFDS dataset, found one that cannot be read ({error}). Convert it"
      f" again, with --overwrite: {self._command}"
    )

  @property
  def stand_in(self) -> str:
    """Why these are not the published data, by the converter's mark or the counts; "": unknown."""
    fixture = self.metadata.get("fixture")
    if fixture:
      return str(fixture)[:200]
    expected = self.metadata.get("expected_counts")
    known = [self.metadata.get(name) for name in ("counts", "counts_before_drop")]
    if not isinstance(expected, Mapping) or expected in known:
      return ""
    found = known[self.metadata.get("expected_counts_of") == "rows"]
    return f"row counts {_counts(found)}, published {_counts(expected)}"

  def source(self, split: str, skip: Collection[str] = ()) -> Sequence[Mapping[str, object]]:
    """Returns the examples of a split by random access; features in `skip` are not decoded.

    Reading an example raises ValueError when the records are damaged.
    """
    import tensorflow_datasets as tfds

    class Skip(tfds.decode.SkipDecoding):
      """Leaves also the pictures of a sequence as they are stored, which that of TFDS cannot."""

      def decode_batch_example_np(self, example):
        return example

    decoders = {name: Skip() for name in skip}
    return _Records(self._builder.as_data_source(split, decoders=decoders or None), self._damaged)

  def columns(
    self, split: str, skip: Collection[str]
  ) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Reads every feature but those in `skip` of a whole split.

    Returns:
      (feature -> [examples, ...], texts as str; feature in `skip` -> hash of all that is stored of it).
    """
    source = self.source(split, skip)
    parts: dict[str, list] = {}
    digests = {name: hashlib.sha256() for name in skip}
    for rows in chunks(len(source), f"{self.folder.parts[-2]}: {split} labels"):
      for example in source.__getitems__(list(rows)):
        for name in example.keys() - set(skip):
          parts.setdefault(name, []).append(example[name])
        for name, digest in digests.items():
          hash_array(digest, example[name])
    columns = {name: _column(values) for name, values in parts.items()}
    return columns, {name: digest.hexdigest() for name, digest in digests.items()}


def hash_array(digest, value: object) -> None:
  """Adds an array or a text, as it is stored, to a digest of `hashlib`."""
  array = np.asarray(value)
  if array.dtype == object:  # texts of different lengths
    array = np.array([json.dumps(str(array.tolist()))])
  digest.update(f"{array.dtype.str}{array.shape};".encode())
  digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8))


class _Records(Sequence):
  """A TFDS data source that says what to do about damaged records."""

  def __init__(self, source, explain: Callable[[Exception], ValueError]):
    self._source, self._explain = source, explain

  def __len__(self) -> int:
    return len(self._source)

  def __getitem__(self, row: int) -> Mapping[str, object]:
    return self.__getitems__([row])[0]

  def __getitems__(self, rows: list[int]) -> Sequence[Mapping[str, object]]:
    try:
      return self._source.__getitems__(rows)
    except Exception as error:  # ArrayRecord has no error of its own
      raise self._explain(error) from error


def _counts(counts: object) -> str:
  if not isinstance(counts, Mapping):
    return "unknown"
  return ", ".join(f"{str(split)[:20]} {count:,}" for split, count in counts.items())


def _column(values: list) -> np.ndarray:
  if isinstance(values[0], bytes):
    return np.array([value.decode() for value in values])
  if isinstance(values[0], list):  # sequences of texts differ in length
    return np.array([json.dumps([text.decode() for text in value]) for value in values])
  return np.asarray(values)


def chunks(count: int, what: str) -> Iterator[range]:
  """Cuts the rows 0 to count - 1 into what is read at once; shows progress where it takes long."""
  starts = range(0, count, _CHUNK)
  for start in tqdm(starts, desc=what, unit="chunk", disable=None if len(starts) > 16 else True):
    yield range(start, min(start + _CHUNK, count))
