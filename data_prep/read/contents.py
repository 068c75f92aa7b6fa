"""Describes what a loaded tree holds: types, shapes, non-finite counts, splits, labels, release."""

import collections
import statistics
from collections.abc import Mapping

import numpy as np

from data_prep.read import releases

_BLOCK = 2**18  # elements looked at in one go: keeps the copies that comparisons make small
_FLOAT32_MAX = float(np.finfo(np.float32).max)
_VISION_OUTLIER = 1e6  # the threshold of SynIB's filter (docs/spec/data.md 3.4)
_MAX_ENTRIES, _MAX_DEPTH, _MAX_DISTINCT = 50, 6, 20


def describe_tree(tree: object) -> dict:
  """Describes a loaded tree: "schema", "splits", "labels", "release" and "notes" of a report."""
  match = releases.match(tree)
  report = {"schema": describe(tree), "splits": {}, "labels": {}, "notes": []}
  report["release"] = {
    "name": match.release.name if match.release else None,
    "dataset": match.dataset,
    "exact": match.exact,
    "differences": list(match.differences),
    "note": match.release.note if match.release else "",
    "file": match.release.files[0] if match.release else None,
  }
  if match.dataset == "mimic":
    report["labels"] = _describe_mimic_labels(tree)
  elif match.dataset is not None:
    for split, key in releases.split_keys(tree).items():
      part = tree[key]
      if isinstance(part, dict):
        report["splits"][split] = _describe_split(part)
        report["labels"][split] = describe_labels(part.get("labels", part.get("label")))
    report["notes"] += _repeated_ids(tree)
  return report


def describe(value: object, depth: int = 0) -> dict:
  """Describes a container or array: type, shape, dtype, entries, non-finite counts."""
  if isinstance(value, np.ndarray):
    return {"type": "array", "dtype": str(value.dtype), "shape": list(value.shape)} | count_values(
      value
    )
  if isinstance(value, Mapping):
    node = {"type": "dict", "length": len(value)}
    if depth < _MAX_DEPTH:
      entries = list(value.items())[:_MAX_ENTRIES]
      node["entries"] = {str(key): describe(part, depth + 1) for key, part in entries}
    return node
  if isinstance(value, list | tuple | set | frozenset):
    types = collections.Counter(type(part).__name__ for part in value)
    node = {"type": type(value).__name__, "length": len(value), "items": dict(types)}
    first = next(iter(value), None)
    if isinstance(first, list | tuple | dict | np.ndarray) and depth < _MAX_DEPTH:
      node["first"] = describe(first, depth + 1)
    return node
  text = ascii(value)
  return {"type": type(value).__name__, "value": text if len(text) <= 80 else text[:77] + "..."}


def count_values(array: np.ndarray) -> dict:
  """Counts what is not finite in an array, a block at a time.

  Args:
    array: any shape and kind.

  Returns:
    For floats "nan", "posinf", "neginf", "overflow" (finite, but infinite as float32), and for all
    numbers "min" and "max" of the finite elements (None without any); for objects, "items" (type name
    -> count); else nothing.
  """
  if array.dtype.kind == "O":
    return {"items": dict(collections.Counter(type(part).__name__ for part in array.flat))}
  if array.dtype.kind not in "fiub":
    return {}
  counts = dict.fromkeys(("nan", "posinf", "neginf", "overflow"), 0)
  low, high = np.inf, -np.inf
  for block in _blocks(array):
    finite = np.isfinite(block)
    if not finite.all():
      counts["nan"] += int(np.isnan(block).sum())
      counts["posinf"] += int((block == np.inf).sum())
      counts["neginf"] += int((block == -np.inf).sum())
      block = block[finite]
    if block.size:
      low, high = min(low, float(block.min())), max(high, float(block.max()))
      if max(high, -low) > _FLOAT32_MAX:
        counts["overflow"] += int((np.abs(block) > _FLOAT32_MAX).sum())
  ends = {"min": low, "max": high} if low <= high else {"min": None, "max": None}
  return (counts if array.dtype.kind == "f" else {}) | ends


def describe_labels(labels: object) -> dict:
  """Counts labels: rows, values below, at and above zero, NaN, and each value where there are few.

  Returns:
    {"found": False} when there are none, {"error": ...} when they are no numbers.
  """
  if labels is None:
    return {"found": False}
  try:
    values = np.asarray(labels, np.float64).reshape(-1)
  except (TypeError, ValueError):
    return {"error": f"labels are no numbers: {type(labels).__name__}"}
  report = {
    "rows": len(values),
    "negative": int((values < 0).sum()),
    "zero": int((values == 0).sum()),
    "positive": int((values > 0).sum()),
    "nan": int(np.isnan(values).sum()),
  }
  distinct, counts = np.unique(values[np.isfinite(values)], return_counts=True)
  if len(distinct) <= _MAX_DISTINCT:
    report["values"] = {f"{v:g}": int(n) for v, n in zip(distinct, counts, strict=True)}
  else:
    counts, edges = np.histogram(values[np.isfinite(values)], bins=12)
    report["histogram"] = {f"{e:.2f}": int(n) for e, n in zip(edges[:-1], counts, strict=True)}
  return report


def _blocks(array: np.ndarray):
  array = array.reshape(1) if array.ndim == 0 else array
  rows = max(1, _BLOCK // max(1, array[:1].size))
  for start in range(0, len(array), rows):
    yield array[start : start + rows]


def _describe_split(part: dict) -> dict:
  """Rows, rows without text, lengths, empty rows and outliers of one split of an affect file."""
  report = {"keys": [str(key) for key in part]}
  arrays = {
    name: part[name]
    for name in releases.MODALITIES
    if isinstance(part.get(name), np.ndarray)
    and part[name].ndim == 3
    and part[name].dtype.kind in "fiu"
  }
  report["rows"] = {name: len(part[name]) for name in part if hasattr(part[name], "__len__")}
  real = {name: _real_steps(array) for name, array in arrays.items()}
  for name in ("vision", "audio"):
    if name in real:
      report[f"rows_without_{name}"] = int((~real[name].any(1)).sum())
  if "vision" in arrays:
    report["rows_vision_above_1e6"] = sum(
      int((np.abs(block) > _VISION_OUTLIER).any((1, 2)).sum())
      for block in _blocks(arrays["vision"])
    )
  if "text" in arrays:
    kept = releases.count_with_text(part)
    report["rows_without_text"] = len(arrays["text"]) - kept
    report |= _describe_lengths(real)
  return report


def _real_steps(array: np.ndarray) -> np.ndarray:
  """bool[rows, steps]: which time steps hold anything but zeros."""
  parts = [(block != 0).any(2) for block in _blocks(array)]
  return np.concatenate(parts) if parts else np.zeros(array.shape[:2], bool)


def _describe_lengths(real: Mapping[str, np.ndarray]) -> dict:
  """Lengths from the first text row that is not zero, and the content before it."""
  text = real["text"][real["text"].any(1)]
  if not len(text):
    return {}
  starts = text.argmax(1)
  lengths = (text.shape[1] - starts).tolist()
  before = 0
  for name in ("vision", "audio"):
    if name in real and real[name].shape == real["text"].shape:
      other = real[name][real["text"].any(1)]
      before += int((other.argmax(1) < starts)[other.any(1)].sum())
  return {
    "length_min": min(lengths), "length_median": statistics.median(lengths), "length_max": max(lengths),
    "rows_nonzero_before_start": before,
  }  # fmt: skip


def _describe_mimic_labels(tree: dict) -> dict:
  report = {}
  groups, admission = tree.get("y_icd9"), tree.get("adm_labels_all")
  if isinstance(groups, np.ndarray) and groups.ndim == 2 and groups.dtype.kind in "fiub":
    rates = (groups > 0).mean(0) if len(groups) else np.zeros(groups.shape[1])
    report["icd9_positive_rate"] = [round(float(rate), 4) for rate in rates]
  if isinstance(admission, np.ndarray) and admission.ndim == 2 and admission.shape[1] >= 2:
    if admission.dtype.kind == "O":
      missing = sum(value is None for value in admission.flat)
      report["adm_labels_missing"] = missing
      admission = np.array([[np.nan if v is None else v for v in row] for row in admission], float)
    positive = admission[:, 1:] > 0
    mortality = np.where(positive.any(1), positive.argmax(1) + 1, 0)
    report["mortality6"] = np.bincount(mortality, minlength=6).tolist()
  return report


def _repeated_ids(tree: dict) -> list[str]:
  seen, repeated, shared = {}, 0, 0
  for split, key in releases.split_keys(tree).items():
    ids = tree[key].get("id") if isinstance(tree[key], dict) else None
    for value in [] if ids is None else ids:
      row = str(np.asarray(value).tolist())
      first = seen.get(row)
      repeated += first == split
      shared += first not in (None, split)
      seen.setdefault(row, split)
  notes = [f"{repeated} segment ids repeat within a split"] if repeated else []
  return notes + ([f"{shared} segment ids occur in more than one split"] if shared else [])
