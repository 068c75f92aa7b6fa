"""Converts the affect pickles, MOSI, MOSEI (both also raw), UR-FUNNY and MUStARD, to TFDS shards.

An example is one segment: its text, and what is aligned with it, from the first word on. The source is
changed only as the published pipelines change it; every doubt about it becomes a warning.
"""

import collections
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from data_prep.datasets.affect import checks
from data_prep.read import contents, pickle_scan, releases, safe_pickle, sniff, source_files
from data_prep.read.source_files import ConversionError
from data_prep.write import shards

OPTIONS = {
  "--nonfinite": {
    "choices": ("parity", "clean"),
    "default": "parity",
    "help": "parity: -inf in audio becomes 0 and all else stays, as published; clean: NaN and "
    "infinities become 0 in all modalities, and values are clipped to +-1e6",
  },
  "--full": {
    "action": "store_true",
    "help": "write the config DATASET_full instead: every time step, padding included",
  },
  "--allow_ragged": {
    "action": "store_true",
    "help": "accept object arrays that hold one matrix per segment",
  },
  "--max_bytes": {"type": int, "help": "largest file to load; 8 GiB, for mosei_raw 16 GiB"},
}
_KEYS = (*releases.MODALITIES, "labels", "id")
_ROW_OVERHEAD = 600  # bytes of an example beside its arrays
_MAX_BYTES = {"mosei_raw": 16 * 1024**3}
_CITATIONS = {
  "mosi": "Zadeh et al., MOSI: Multimodal Corpus of Sentiment Intensity, arXiv:1606.06259, 2016",
  "mosei": "Zadeh et al., Multimodal Language Analysis in the Wild: CMU-MOSEI, ACL 2018",
  "urfunny": "Hasan et al., UR-FUNNY: A Multimodal Language Dataset for Humor, EMNLP 2019",
  "mustard": "Castro et al., Towards Multimodal Sarcasm Detection, ACL 2019",
}


def plan(
  dataset: str,
  source: pathlib.Path,
  *,
  nonfinite: str = "parity",
  full: bool = False,
  allow_ragged: bool = False,
  max_bytes: int | None = None,
) -> Iterator[shards.Plan]:
  """Reads a pickle and plans its shards `affect/DATASET`, or `affect/DATASET_full`.

  In this order: rows whose text sums to 0 are dropped; -inf in audio becomes 0; all modalities are cut
  to start at the first time step with text (not in `_full`); values become float32. `label_gt0` and
  `label_ge0` are score > 0 and >= 0 as stored, so that the latter is 1 everywhere for labels 0 and 1; NaN
  gives 0. `vision_absmax` is taken before cleaning, for SynIB's filter, and NaN where the segment has
  one.

  Args:
    dataset: "mosi", "mosi_raw", "mosei", "mosei_raw", "urfunny" or "mustard".
    source: the pickle, or the folder that holds it under its published name.
    nonfinite: "parity" keeps other values that are not finite; "clean" makes NaN and infinities 0 in
      every modality after the cast, and clips to +-1e6.
    full: keep all time steps.
    allow_ragged: accept object arrays, and lists, of one matrix per segment.
    max_bytes: largest file to load.

  Yields:
    One `shards.Plan`; its iterators release each split after use.

  Raises:
    ConversionError: the file cannot be read or is another dataset's; a key is missing; an array
      has the wrong kind or width; labels have several columns; no row has text.

  Source: docs/spec/data.md 1, 2.3, 3.2 to 3.6, 3.8.
  """
  release = releases.get(dataset)
  path = source_files.find_file(source, release.files)
  tree = _load(
    path, _MAX_BYTES.get(dataset, safe_pickle.MAX_BYTES) if max_bytes is None else max_bytes
  )
  keys = _check_tree(path, tree, dataset)
  report = contents.describe_tree(tree)
  _check_release(path, release, report, tree, keys)
  parts = {s: _read_part(f"{path}: {s}", tree[keys[s]], release, allow_ragged) for s in keys}
  clean = nonfinite == "clean"
  surveys = {split: _survey(part, clean=clean, full=full) for split, part in parts.items()}
  for split, survey in surveys.items():
    if not survey.kept:
      raise ConversionError(
        f"{path}: {split}: expected rows with text, found none: the text of all "
        f"{len(parts[split].text)} rows sums to 0. Download the file again."
      )
  metadata = checks.describe(path, release, report, keys, parts, surveys)
  metadata |= {"nonfinite_policy": nonfinite, "full": full}
  steps = _fixed_length(path, parts) if full else None
  tree.clear()  # each split is freed when it is written
  yield shards.Plan(
    name="affect",
    config=f"{dataset}_full" if full else dataset,
    features=_make_features(release, steps),
    splits={
      checks.SPLITS[s]: lambda s=s: _make_examples(parts.pop(s), surveys[s], clean=clean, full=full)
      for s in surveys
    },
    counts={checks.SPLITS[s]: len(survey.kept) for s, survey in surveys.items()},
    metadata=metadata,
    nbytes=sum(
      4 * survey.num_steps * sum(release.widths.values()) + _ROW_OVERHEAD * len(survey.kept)
      for survey in surveys.values()
    ),
    citation=_CITATIONS[release.dataset],
    description=f"{release.name}: {release.label}",
  )


def _load(path: pathlib.Path, max_bytes: int) -> object:
  try:
    return safe_pickle.load(path, max_bytes=max_bytes)
  except (sniff.WrongFileError, safe_pickle.UnsafePickleError) as error:
    raise ConversionError(str(error)) from None
  except pickle_scan.DamagedPickleError as error:
    raise ConversionError(str(error)) from error


def _check_tree(path: pathlib.Path, tree: object, dataset: str) -> dict[str, str]:
  """Returns the file's key of each split; refuses a tree without the three splits and their keys."""
  if not isinstance(tree, dict):
    raise ConversionError(
      f"{path}: expected a dict of train, valid and test, found a {type(tree).__name__}. Check that "
      f"this is the file of {dataset}: python -m data_prep.inspect {path}"
    )
  if len(set(releases.MIMIC_KEYS) & set(tree)) >= 2:
    raise ConversionError(
      f"{path}: expected {dataset}, found what looks like mimic (keys {_names(tree)}). Pass the file "
      f"of {dataset}, or run: python -m data_prep.convert mimic"
    )
  keys = releases.split_keys(tree)
  missing = [split for split in releases.SPLITS if split not in keys]
  if missing:
    folds = " SynIB's k-fold files are not supported." if "pooled" in tree else ""
    raise ConversionError(
      f"{path}: expected the keys train, valid (or val, validation, dev) and test, found "
      f"{_names(tree)}: {', '.join(missing)} is missing. Older uploads lack a split: download the "
      f"published file.{folds}"
    )
  if len(keys) < sum(key in releases.SPLIT_ALIASES for key in tree):
    raise ConversionError(
      f"{path}: expected one key for the validation split, found {_names(tree)}. Remove the wrong one."
    )
  for split, key in keys.items():
    if not isinstance(tree[key], dict):
      raise ConversionError(
        f"{path}: {split}: expected a dict, found a {type(tree[key]).__name__}. Download the "
        "published file."
      )
    found = set(tree[key]) | ({"labels"} if "label" in tree[key] else set())
    missing = [name for name in _KEYS if name not in found]
    if missing:
      raise ConversionError(
        f"{path}: {split}: expected the keys {', '.join(_KEYS)}, found {_names(tree[key])}: "
        f"{', '.join(missing)} is missing. Download the published file."
      )
    for name in (*releases.MODALITIES, "id"):
      if not isinstance(tree[key][name], list) and not getattr(tree[key][name], "ndim", 0):
        raise ConversionError(
          f"{path}: {split}/{name}: expected an array, found a {type(tree[key][name]).__name__}. "
          "Download the published file."
        )
  return {split: keys[split] for split in releases.SPLITS}


def _names(tree: Mapping) -> str:
  return ", ".join(str(key) for key in tree) or "none"


def _check_release(path, release: releases.Release, report, tree, keys: Mapping[str, str]) -> None:
  """Refuses the file of another dataset, and names that one."""
  parts = {split: tree[key] for split, key in keys.items()}
  found, looks = report["release"]["name"], ""
  widths = {
    name: parts["train"][name].shape[2]
    for name in releases.MODALITIES
    if getattr(parts["train"][name], "ndim", 0) == 3
  }
  wrong = any(width != release.widths[name] for name, width in widths.items())
  if found is not None and found != release.name:
    other = releases.get(found)
    looks = f" It looks like {found} ({', '.join(filter(None, (other.files[0], other.note)))})."
    signs = _read_signs(parts)
    differing, other_differing = _count_differing(release, signs), _count_differing(other, signs)
    # Of two files of one layout no single sign tells: a user's file may have other rows, or other ids.
    if not wrong and differing > max(1, other_differing):
      raise ConversionError(
        f"{path}: expected {release.name}, {release.length} time steps, ids as a {release.ids} and "
        f"{sum(_expected_counts(release).values()):,} rows, found {signs[0]} time steps, ids as a "
        f"{signs[1]} and {signs[2]:,} rows.{looks} Run python -m data_prep.convert {found}, or pass "
        f"the file of {release.name}."
      )
  if wrong:
    raise ConversionError(
      f"{path}: expected the widths {_show(release.widths)} of {release.name}, found {_show(widths)}."
      f"{looks or ' No published file has these.'} Pass the file of {release.name} "
      f"({release.files[0]}), or convert this one under its own name."
    )


def _read_signs(parts: Mapping[str, Mapping]) -> tuple[int, str, int]:
  """Time steps, layout of the ids and number of rows."""
  text, ids = parts["train"]["text"], parts["train"]["id"]
  steps = text.shape[1] if getattr(text, "ndim", 0) == 3 else 0
  layout = "list" if isinstance(ids, list) else "vector" if ids.ndim == 1 else "table"
  if layout == "table" and ids.shape[1] == 1:
    layout = "number"
  return steps, layout, sum(len(part["text"]) for part in parts.values())


def _expected_counts(release: releases.Release) -> Mapping[str, int]:
  return release.counts or release.counts_kept or {}


def _count_differing(release: releases.Release, signs: tuple[int, str, int]) -> int:
  """How many of the signs are not the release's; rows may differ by 5 %."""
  expected = sum(_expected_counts(release).values())
  return (
    (signs[0] != release.length)
    + (signs[1] != release.ids)
    + (abs(signs[2] - expected) > expected / 20)
  )


def _show(values: Mapping[str, object]) -> str:
  return ", ".join(f"{name} {value}" for name, value in values.items())


def _read_part(
  where: str, part: Mapping, release: releases.Release, allow_ragged: bool
) -> checks.Part:
  """Checks kinds, widths and numbers of rows of one split."""
  arrays = {
    name: _read_modality(f"{where}/{name}", part[name], release.widths[name], allow_ragged)
    for name in releases.MODALITIES
  }
  labels = _read_labels(f"{where}/labels", part["labels"] if "labels" in part else part["label"])
  ids = part["id"].tolist() if isinstance(part["id"], np.ndarray) else part["id"]
  rows = {name: len(array) for name, array in arrays.items()} | {
    "labels": len(labels),
    "id": len(ids),
  }
  if len(set(rows.values())) > 1:
    raise ConversionError(
      f"{where}: expected as many rows under every key, found {_show(rows)}. Download the file again."
    )
  for row in range(rows["text"]):
    steps = {name: len(array[row]) for name, array in arrays.items()}
    if len(set(steps.values())) > 1:
      raise ConversionError(
        f"{where}: row {row}: expected as many time steps in every modality, found {_show(steps)}. "
        "The file is not aligned by word: take the aligned one."
      )
  return checks.Part(**arrays, labels=labels, ids=[_read_id(value) for value in ids])


def _read_modality(where: str, array: np.ndarray | list, width: int, allow_ragged: bool):
  """Returns the array, or the list of its matrices if it is ragged."""
  if isinstance(array, list) or array.dtype.kind == "O":
    if not allow_ragged:
      raise ConversionError(
        f"{where}: expected an array of numbers, found an object array or a list. If it holds one "
        "matrix per segment, pass --allow_ragged."
      )
    for row, matrix in enumerate(array):
      shape = getattr(matrix, "shape", None)
      if shape is None or matrix.dtype.kind not in "fiu" or len(shape) != 2 or shape[1] != width:
        raise ConversionError(
          f"{where}: row {row}: expected a matrix of numbers [steps, {width}], found "
          f"{type(matrix).__name__} {'' if shape is None else f'{matrix.dtype} {shape}'}. Take the "
          "published file."
        )
    return list(array)
  if array.dtype.kind not in "fiu" or array.ndim != 3 or array.shape[2] != width:
    raise ConversionError(
      f"{where}: expected numbers [rows, steps, {width}], found {array.dtype} {array.shape}. Download "
      "the published file."
    )
  return array


def _read_labels(where: str, labels: object) -> np.ndarray:
  """Returns the labels as a vector of numbers."""
  try:
    values = np.asarray(labels)
    if values.dtype.kind == "O":  # as a ragged file stores them: one array per segment
      values = np.array([np.asarray(value, np.float64) for value in values.reshape(-1)])
  except (TypeError, ValueError):
    values = np.empty(0, object)
  if values.dtype.kind not in "fiub" or values.ndim == 0:
    raise ConversionError(
      f"{where}: expected one number per row, found a {type(labels).__name__} that is none. Download "
      "the published file."
    )
  if len(values) and values.size != len(values):
    raise ConversionError(
      f"{where}: expected one label per row, found {values.size // len(values)} (shape "
      f"{values.shape}): files of several labels (emotions) are not supported. Take the sentiment file."
    )
  return values.reshape(-1)


def _read_id(value: object) -> list[str]:
  """Returns the columns of an id as text; whole numbers without a decimal point."""
  columns = value if isinstance(value, list | tuple) else np.asarray(value).reshape(-1).tolist()
  texts = []
  for column in columns:
    column = column.item() if isinstance(column, np.generic | np.ndarray) else column
    if isinstance(column, bytes):
      column = column.decode("utf-8", errors="replace")
    if isinstance(column, float) and column.is_integer():
      column = int(column)
    texts.append(str(column))
  return texts or [""]


def _fixed_length(path: pathlib.Path, parts: Mapping[str, checks.Part]) -> int:
  lengths = {len(row) for part in parts.values() for row in part.text}
  if len(lengths) > 1:
    raise ConversionError(
      f"{path}: --full: expected segments of one length, found {min(lengths)} to {max(lengths)} steps. "
      "Leave --full out."
    )
  return lengths.pop()


def _survey(part: checks.Part, *, clean: bool, full: bool) -> checks.Survey:
  """Applies the drop and the alignment rule, and counts what needs a look; changes nothing."""
  facts = dict.fromkeys(
    ("rows_without_vision", "rows_without_audio", "rows_vision_above_1e6",
     "rows_nonzero_before_start", "dropped_rows_with_content"), 0,
  )  # fmt: skip
  lengths, survey = collections.Counter(), checks.Survey([], [], facts, 0, {})
  for row, text in enumerate(part.text):
    if text.sum() == 0:  # NaN sums are kept, and so are they by the published loaders
      facts["dropped_rows_with_content"] += bool(text.any())
      continue
    start = int((text != 0).any(1).argmax())
    survey.kept.append(row)
    survey.starts.append(start)
    lengths[len(text) - start] += 1
    survey.num_steps += len(text) - (0 if full else start)
    vision, audio = part.vision[row], part.audio[row]
    facts["rows_without_vision"] += not vision.any()
    facts["rows_without_audio"] += not audio.any()
    facts["rows_nonzero_before_start"] += bool(vision[:start].any() or audio[:start].any())
    facts["rows_vision_above_1e6"] += bool((np.abs(vision[start:]) > checks.CLIP).any())
    if clean:
      values, _ = _convert_row(part, row, 0 if full else start)
      for name, value in values.items():
        counts = survey.cleaned.setdefault(name, {"zeroed": 0, "clipped": 0})
        finite = np.isfinite(value)
        counts["zeroed"] += int(value.size - finite.sum())
        counts["clipped"] += int((np.abs(value[finite]) > checks.CLIP).sum())
  facts["lengths"] = {str(length): lengths[length] for length in sorted(lengths)}
  return survey


def _convert_row(
  part: checks.Part, row: int, first: int
) -> tuple[dict[str, np.ndarray], np.ndarray]:
  """Float32 arrays from step `first` on, -inf of audio replaced before the cast, and where it was."""
  audio = part.audio[row][first:]
  replaced = audio == -np.inf
  if replaced.any():
    audio = np.where(replaced, 0, audio)
  values = {"vision": part.vision[row][first:], "audio": audio, "text": part.text[row][first:]}
  with np.errstate(over="ignore", invalid="ignore"):
    return {name: value.astype(np.float32) for name, value in values.items()}, replaced


def _make_examples(
  part: checks.Part, survey: checks.Survey, *, clean: bool, full: bool
) -> Iterator[dict]:
  for row, start in zip(survey.kept, survey.starts, strict=True):
    first = 0 if full else start
    values, replaced = _convert_row(part, row, first)
    absmax = np.abs(values["vision"][start - first :]).max()
    if clean:
      values = {
        name: np.clip(
          np.where(np.isfinite(value), value, np.float32(0)),
          -checks.CLIP,
          checks.CLIP,
        )
        for name, value in values.items()
      }
    label = part.labels[row]
    yield values | {
      "seq_len": len(part.text[row]) - start,
      "start": start,
      "label_raw": np.float32(label),
      "label_gt0": int(label > 0),
      "label_ge0": int(label >= 0),
      "segment_id": part.ids[row][0],
      "id_extra": part.ids[row][1:],
      "source_index": row,
      "vision_absmax": absmax,
      "n_audio_neginf": int(replaced[start - first :].sum()),
    }


def _make_features(release: releases.Release, steps: int | None) -> dict[str, object]:
  import tensorflow_datasets as tfds

  features = {
    name: shards.array((steps, release.widths[name]), np.float32) for name in releases.MODALITIES
  }
  return features | {
    "seq_len": shards.scalar(np.int32),
    "start": shards.scalar(np.int32),
    "label_raw": shards.scalar(np.float32),
    "label_gt0": shards.scalar(np.int64),
    "label_ge0": shards.scalar(np.int64),
    "segment_id": shards.text(),
    "id_extra": tfds.features.Sequence(shards.text()),
    "source_index": shards.scalar(np.int64),
    "vision_absmax": shards.scalar(np.float32),
    "n_audio_neginf": shards.scalar(np.int32),
  }
