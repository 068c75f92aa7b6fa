"""Draws a file in the layout of MultiBench's MOSI, MOSEI, UR-FUNNY or MUStARD, with planted structure.

Called by `data_prep.fixtures`.
"""

import numpy as np

from data_prep.read import releases
from data_prep.write import planted
from data_prep.write.pickle_fixture import Drawn, Request

MIN_ROWS, DEFAULT_ROWS = 12, 24  # of train
# Rows of each case in an affect file; negative ones count from the end.
EASY_CASES = {
  "empty_text": {"train": [1], "valid": [1]},
  "length_one": {"train": [2]},
  "full_length": {"train": [3]},
  "interior_zero_row": {"train": [4]},
  "zero_vision": {"train": [5]},
  "zero_audio": {"train": [6]},
  "vision_outlier": {"valid": [2]},
  "neginf_audio": {},
  "zero_scores": {},
  "constant_columns": {},
}
HARD_CASES = {
  "nonfinite_audio": {"train": [7]},
  "nan_vision": {"train": [8]},
  "float32_overflow": {"train": [9]},
  "empty_text_ends": {"train": [0, 1, -2, -1]},
  "extra_key": {},
}
_SCORE_STEP = {"mosi": 0.2, "mosei": 1 / 3}


def draw(generator: np.random.Generator, request: Request) -> Drawn:
  """Draws the tree: valid and test have a third of the rows of train each, at least four."""
  num_train = request.num_rows
  widths = request.release.widths
  num_bits = {"vision": 3, "audio": 1, "text": 3}
  directions = {
    name: planted.draw_directions(generator, num_bits[name], widths[name])
    for name in releases.MODALITIES
  }
  num_other = max(4, num_train // 3)
  special = {
    case: {
      split: [row % (num_train if split == "train" else num_other) for row in rows]
      for split, rows in where.items()
    }
    for case, where in (EASY_CASES | HARD_CASES).items()
    if case in request.cases
  }
  tree, sources, first = {}, {}, 0
  for split, num_rows in zip(releases.SPLITS, (num_train, num_other, num_other), strict=True):
    rows = {case: where.get(split, []) for case, where in special.items()}
    tree[split], sources[split] = _make_split(generator, request, directions, num_rows, rows, first)
    first += num_rows
  rows = {split: len(part["text"]) for split, part in tree.items()}
  empty = [special.get(case, {}) for case in ("empty_text", "empty_text_ends")]
  kept = {s: n - len(set().union(*(e.get(s, ()) for e in empty))) for s, n in rows.items()}
  return Drawn(tree, sources, special, rows, kept)


def _make_split(generator, request: Request, directions, num_rows: int, rows, first: int):
  bits = planted.draw_sources(generator, num_rows, signal=request.signal)
  carried = {
    "vision": (bits.redundancy, bits.unique_1, bits.gate_1),
    "audio": (bits.redundancy,),
    "text": (bits.redundancy, bits.unique_2, bits.gate_2),
  }
  length = request.release.length
  part = {
    name: planted.draw_steps(
      generator, carried[name], directions[name], num_steps=length, strength=request.strength
    )
    for name in releases.MODALITIES
  }
  lengths = generator.integers(5, length, num_rows, endpoint=True)
  lengths[rows.get("length_one", [])] = 1
  lengths[rows.get("full_length", [])] = length
  lengths[rows.get("interior_zero_row", [])] = length // 2
  real = np.arange(length) >= length - lengths[:, None]  # content at the end, zeros in front
  if "constant_columns" in request.cases:
    part["vision"][..., 0] = part["audio"][..., 0] = 1.0
  for array in part.values():
    array[~real] = 0
  _spoil(generator, request, part, real, rows)
  for name, dtype in request.release.dtypes.items():
    part[name] = part[name].astype(dtype, copy=False)
  part["labels"] = _make_labels(generator, request, bits.label)
  part["id"] = _make_ids(request.release, first, num_rows)
  if "extra_key" in request.cases:
    part["raw_text"] = [f"words of row {first + i}" for i in range(num_rows)]
  return part, bits


def _spoil(generator, request: Request, part, real, rows) -> None:
  """Puts the special rows of a split into its arrays, in place."""
  text, vision, audio = part["text"], part["vision"], part["audio"]
  if "neginf_audio" in request.cases:  # 1 % of what is not padding, but at least one entry
    entries = (generator.random(audio.shape) < 0.01) & real[..., None]
    entries[0, -1, -1] = True
    audio[entries] = -np.inf
  for case in ("empty_text", "empty_text_ends"):
    text[rows.get(case, [])] = 0
  for row in rows.get("interior_zero_row", []):
    text[row, -text.shape[1] // 4] = 0
  vision[rows.get("zero_vision", [])] = 0
  audio[rows.get("zero_audio", [])] = 0
  vision[rows.get("vision_outlier", []), -1, 1] = 1e7
  vision[rows.get("nan_vision", []), -1, 1] = np.nan
  vision[rows.get("float32_overflow", []), -1, 1] = 1e300
  audio[rows.get("nonfinite_audio", []), -1, 1:3] = np.inf, np.nan


def _make_labels(generator, request: Request, label: np.ndarray) -> np.ndarray:
  step = _SCORE_STEP.get(request.release.dataset)
  if step is None:
    values = label.astype(np.float64)[:, None]
    return (2 * values - 1)[:, None] if request.signed_labels else values
  size = np.abs(1.5 + 0.5 * generator.standard_normal(len(label)))
  score = np.clip(np.round(size / step), 1, round(3 / step)) * step * np.where(label, 1, -1)
  if "zero_scores" in request.cases:
    negatives = generator.permutation(np.flatnonzero(~label))
    score[negatives[: max(1, round(0.05 * len(label)))]] = 0
  dtype = np.float32 if request.release.name == "mosei" else np.float64
  return score.astype(dtype)[:, None, None]


def _make_ids(release: releases.Release, first: int, num_rows: int):
  numbers = range(first, first + num_rows)
  if release.ids == "number":
    return np.array(numbers, np.float64)[:, None]
  if release.ids == "vector":
    return np.array([f"{1 + n % 2}_{n}" for n in numbers], "<U7")
  if release.ids == "list":
    return [f"vid{n // 4:05d}[{n % 4}]" for n in numbers]
  times = [(f"{n % 4 * 7.5:.2f}", f"{n % 4 * 7.5 + 5:.2f}") for n in numbers]
  if release.name == "mosi":
    return np.array([(f"vid{n // 4:05d}_{n % 4}", *times[n - first]) for n in numbers], "S14")
  return np.array([(f"vid{n // 4:05d}", *times[n - first]) for n in numbers], "<U15")
