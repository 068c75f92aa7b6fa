"""Writes datasets as TFDS ArrayRecord shards: whole or not at all, in source order, without TensorFlow.

TFDS' own writer collects up to 1 GB of examples in memory before it writes; this one streams through
TFDS' features, serializer and file names, so that `tfds.builder_from_directory` opens the result.
"""

import contextlib
import dataclasses
import errno
import json
import math
import os
import pathlib
import shutil
import socket
import sys
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import tqdm

from data_prep.read import source_files
from synjax.workdir import lock

VERSION = "1.0.0"  # `synjax.data.shards` has it too: importing it from there would load jax
SPEC_REVISION = "data.md 2026-11"
SPLITS = ("train", "validation", "test")
_MODULE = "data_prep.shards"  # as written since version 1.0.0: same source, same bytes
_MARGIN = 16 * 2**20  # bytes of free space to leave
_MAX_SHARD_BYTES = 256 * 2**20
_FULL = ("no space left on device", "disk quota exceeded")


@dataclasses.dataclass(frozen=True)
class Plan:
  """One dataset to write.

  Attributes:
    name: of the builder: "affect".
    config: of the builder: "mosi".
    features: name -> TFDS feature, see `array`, `scalar` and `text`.
    splits: split -> makes its examples, in order; called once, when the split is written.
    counts: split -> number of examples its iterator yields.
    metadata: JSON-ready, see `describe`; read after the last example, so that an iterator may still add
      to it.
    nbytes: estimate of what is written.
    citation: for TFDS.
    description: for TFDS.
  """

  name: str
  config: str
  features: Mapping[str, object]
  splits: Mapping[str, Callable[[], Iterator[Mapping[str, object]]]]
  counts: Mapping[str, int]
  metadata: dict[str, object]
  nbytes: int
  citation: str = ""
  description: str = ""


def array(shape: tuple[int | None, ...], dtype: object, *, compress: bool = False):
  """Returns the feature of an array, kept bit for bit; `compress` (zlib) is for raw uint8 images."""
  import tensorflow_datasets as tfds

  encoding = tfds.features.Encoding.ZLIB if compress else tfds.features.Encoding.BYTES
  return tfds.features.Tensor(shape=shape, dtype=np.dtype(dtype), encoding=encoding)


def scalar(dtype: object):
  """Returns the feature of one number, int64, int32 or float32."""
  import tensorflow_datasets as tfds

  return tfds.features.Scalar(dtype=np.dtype(dtype))


def image(encoding_format: str):
  """Returns the TFDS feature of encoded pictures; pass each as a BytesIO, which needs no TensorFlow.

  Args:
    encoding_format: "jpeg" or "png", what most files are; the bytes stored may be the other one.

  Returns:
    A `tfds.features.Image` that is read back as uint8[height, width, 3].
  """
  import tensorflow_datasets as tfds

  return tfds.features.Image(shape=(None, None, 3), encoding_format=encoding_format)


def text():
  """Returns the feature of a text; it is read back as UTF-8 bytes."""
  import tensorflow_datasets as tfds

  return tfds.features.Text()


def describe(
  dataset: str,
  *,
  source: Mapping[str, Mapping[str, object]],
  counts_before_drop: Mapping[str, int],
  counts: Mapping[str, int],
  expected_counts: Mapping[str, int] | None,
  labels: Mapping[str, object],
  warnings: list[str],
  **more: object,
) -> dict:
  """Returns the metadata that every dataset carries.

  Args:
    dataset: as the command names it.
    source: file name -> {"size": bytes, "sha256": hexadecimal}.
    counts_before_drop: split -> rows of the source.
    counts: split -> examples.
    expected_counts: split -> examples of the published file; None where unknown.
    labels: split -> histogram.
    warnings: sentences that begin with an id: "count: train: expected 1,284 rows, found 1,200".
    **more: what the dataset has beyond that.

  Returns:
    A JSON-ready dict.

  Source: docs/spec/data.md 1, 11.
  """
  return {
    "dataset": dataset,
    "spec_revision": SPEC_REVISION,
    "converter_version": VERSION,
    "source": source,
    "counts_before_drop": counts_before_drop,
    "counts": counts,
    "expected_counts": expected_counts,
    "labels": labels,
    "warnings": warnings,
    **more,
  }


def folder(data_dir: str | os.PathLike, name: str, config: str) -> pathlib.Path:
  """Returns where a dataset lies: DATA_DIR/name/config/1.0.0."""
  return pathlib.Path(data_dir) / name / config / VERSION


def write(plan: Plan, data_dir: str | os.PathLike, *, overwrite: bool = False) -> pathlib.Path:
  """Writes a dataset, whole or not at all.

  Shards go to a hidden folder beside the final one, which takes its name when everything is written,
  counted and flushed to disk. What a killed run left is removed by the next; a dataset under
  replacement is there, old or new, also after a kill.

  Args:
    plan: what to write.
    data_dir: root of the TFDS datasets.
    overwrite: replace a dataset that is there, once the new one is whole.

  Returns:
    The folder, for `tfds.builder_from_directory`.

  Raises:
    ConversionError: a dataset is there already; another process is writing it; too little space, found
      before or while writing; an iterator yields another number of examples than planned.

  Source: docs/spec/data.md 11, docs/spec/ecosystem.md 2.
  """
  final = folder(data_dir, plan.name, plan.config)
  _check_metadata(plan)
  for split, count in plan.counts.items():
    if count < 1:
      raise source_files.ConversionError(
        f"{plan.name}/{plan.config}: {split}: expected examples, found none. Check the source."
      )
  _refuse_existing(final, overwrite)
  with _explained(final, plan.nbytes):
    final.parent.mkdir(parents=True, exist_ok=True)
    with _locked(final) as alone:
      if alone:
        _remove_leftovers(final)
      _refuse_existing(final, overwrite)
      _check_space(final, plan.nbytes)
      run = f"{socket.gethostname()}-{os.getpid()}"
      partial = final.with_name(f".{VERSION}.partial-{run}")
      shutil.rmtree(partial, ignore_errors=True)
      partial.mkdir()
      try:
        _write_dataset(plan, partial)
        _flush(partial)
        _publish(partial, final, final.with_name(f".{VERSION}.old-{run}"))
      finally:
        shutil.rmtree(partial, ignore_errors=True)
  return final


def _refuse_existing(final: pathlib.Path, overwrite: bool) -> None:
  if final.exists() and not overwrite:
    raise source_files.ConversionError(
      f"{final}: expected a place for a new dataset, found one that is already there. Pass --overwrite"
      " to replace it, or another --data_dir."
    )


def _check_metadata(plan: Plan) -> None:
  try:
    json.dumps(plan.metadata, allow_nan=False)
  except (TypeError, ValueError) as error:
    raise source_files.ConversionError(
      f"{plan.name}/{plan.config}: metadata: expected JSON, found {error}"
    ) from None


def _check_space(final: pathlib.Path, nbytes: int) -> None:
  free = shutil.disk_usage(final.parent).free
  if free < nbytes + _MARGIN:
    raise source_files.ConversionError(
      f"{final.parent}: expected {nbytes + _MARGIN:,} bytes of free space, found {free:,}. Free some, "
      "or pass a --data_dir on another disk. Nothing was written."
    )


@contextlib.contextmanager
def _explained(final: pathlib.Path, nbytes: int):
  """Turns a full disk, which libraries report in several ways, into one error."""
  try:
    yield
  except source_files.ConversionError:
    raise
  except Exception as error:
    number = getattr(error, "errno", None)
    if number not in (errno.ENOSPC, errno.EDQUOT) and not any(
      words in str(error).lower() for words in _FULL
    ):
      raise
    raise source_files.ConversionError(
      f"{final}: the disk filled up while writing (about {nbytes:,} bytes are needed): {error}. What "
      "was written is removed again. Free some space, or pass a --data_dir on another disk."
    ) from error


@contextlib.contextmanager
def _locked(final: pathlib.Path):
  """Holds the lock of a dataset; yields False where the file system has none.

  The system releases it when a process dies: whatever lies about while it is held belongs to the dead.
  """
  try:
    with lock.hold(final.with_name(".lock"), "a conversion") as alone:
      yield alone
  except lock.InUse as error:
    raise source_files.ConversionError(
      f"{final}: another process is writing this dataset. ({error}.)"
    ) from None


def _remove_leftovers(final: pathlib.Path) -> None:
  """Removes what killed runs left; brings back a dataset they had moved away but not replaced."""
  for path in sorted(final.parent.glob(f".{VERSION}.old-*")):
    if final.exists():
      shutil.rmtree(path)
    else:
      path.rename(final)
  for path in final.parent.glob(f".{VERSION}.partial-*"):
    shutil.rmtree(path)


def _publish(partial: pathlib.Path, final: pathlib.Path, old: pathlib.Path) -> None:
  if final.exists():
    final.rename(old)
  try:
    partial.rename(final)
  except BaseException:
    if old.exists() and not final.exists():
      old.rename(final)
    raise
  shutil.rmtree(old, ignore_errors=True)


def _flush(folder_path: pathlib.Path) -> None:
  """Waits until the files are on disk, so that a power cut after the renaming finds them whole."""
  for path in (*folder_path.iterdir(), folder_path):
    descriptor = os.open(path, os.O_RDONLY)
    try:
      os.fsync(descriptor)
    finally:
      os.close(descriptor)


def _write_dataset(plan: Plan, partial: pathlib.Path) -> None:
  import tensorflow_datasets as tfds

  identity = tfds.core.dataset_info.DatasetIdentity(
    name=plan.name, version=tfds.core.Version(VERSION), data_dir=os.fspath(partial),
    module_name=_MODULE, config_name=plan.config, config_description=plan.description, config_tags=[],
    release_notes={},
  )  # fmt: skip
  metadata = tfds.core.MetadataDict()
  info = tfds.core.DatasetInfo(
    builder=identity, features=tfds.features.FeaturesDict(dict(plan.features)),
    metadata=metadata, disable_shuffling=True, citation=plan.citation or None,
    description=plan.description or plan.name,
  )  # fmt: skip
  info.set_file_format(tfds.core.FileFormat.ARRAY_RECORD)
  with tqdm.tqdm(
    total=sum(plan.counts.values()), desc=f"{plan.name}/{plan.config}", unit=" examples",
    file=sys.stderr, mininterval=0.2 if sys.stderr.isatty() else 10,
  ) as progress:  # fmt: skip
    splits = [_write_split(plan, split, info, partial, progress) for split in plan.splits]
  _check_metadata(plan)
  metadata.update(plan.metadata)
  info.set_splits(tfds.core.splits.SplitDict(splits))
  info.write_to_directory(os.fspath(partial))
  _check_counts(plan, partial)


def _write_split(plan: Plan, split: str, info, partial: pathlib.Path, progress):
  """Streams one split into its shards; returns TFDS' description of it."""
  import tensorflow_datasets as tfds
  from array_record.python import array_record_module

  template = tfds.core.ShardedFileTemplate(
    data_dir=partial, dataset_name=plan.name, split=split, filetype_suffix="array_record"
  )
  serializer = tfds.core.example_serializer.ExampleSerializer(info.features.get_serialized_info())
  count = plan.counts[split]
  ends = _shard_ends(count, plan.nbytes * count / max(1, sum(plan.counts.values())))
  examples, num_bytes, done = plan.splits[split](), 0, 0
  for shard, end in enumerate(ends):
    path = template.sharded_filepath(shard_index=shard, num_shards=len(ends))
    # One record per group: random access reads no more than it needs.
    writer = array_record_module.ArrayRecordWriter(os.fspath(path), "group_size:1")
    try:
      for _ in range(end - done):
        example = next(examples, None)
        if example is None:
          raise source_files.ConversionError(_wrong_count(plan, split, f"{done:,}"))
        record = serializer.serialize_example(info.features.encode_example(example))
        writer.write(record)
        num_bytes, done = num_bytes + len(record), done + 1
        progress.update()
    finally:
      writer.close()
  if next(examples, None) is not None:
    raise source_files.ConversionError(_wrong_count(plan, split, "more"))
  lengths = np.diff([0, *ends]).tolist()
  return tfds.core.SplitInfo(
    name=split, shard_lengths=lengths, num_bytes=num_bytes, filename_template=template
  )


def _shard_ends(count: int, nbytes: float) -> list[int]:
  """Last example (exclusive) of every shard."""
  num_shards = max(1, min(count, math.ceil(nbytes / _MAX_SHARD_BYTES)))
  return [round(count * shard / num_shards) for shard in range(1, num_shards + 1)]


def _wrong_count(plan: Plan, split: str, found: str) -> str:
  return (
    f"{plan.name}/{plan.config}: {split}: expected {plan.counts[split]:,} examples, found {found}. The "
    "source changed while it was read, or the converter counts wrongly: run it again, then report it."
  )


def _check_counts(plan: Plan, partial: pathlib.Path) -> None:
  """Reads back what is on disk: records of every shard, first and last example of every split."""
  import tensorflow_datasets as tfds
  from array_record.python import array_record_module

  builder = tfds.builder_from_directory(os.fspath(partial))
  for split, count in plan.counts.items():
    found = 0
    for path in builder.info.splits[split].filepaths:
      reader = array_record_module.ArrayRecordReader(os.fspath(path))
      found += reader.num_records()
      reader.close()
    if found != count:
      raise source_files.ConversionError(_wrong_count(plan, split, f"{found:,} on disk"))
    source = builder.as_data_source(split)
    source[0], source[count - 1]
