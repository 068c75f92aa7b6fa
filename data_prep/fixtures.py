"""Writes small source files that look like the real ones: python -m data_prep.fixtures DATASET --out=D.

The files have the names, keys, dtypes, shapes and padding of the published ones (docs/spec/data.md
3.9, 4.5), the rows that go wrong in practice, and labels that follow planted sources of known
strength (`planted`), so that training on them must beat chance. A manifest beside each file says
which rows are special and what was planted.
"""

import argparse
import dataclasses
import importlib
import json
import os
import pathlib
import sys
import zlib
from collections.abc import Sequence

import numpy as np

from data_prep import inspect
from data_prep.read import releases
from data_prep.write import pickle_writer, planted
from synjax.workdir.files import resolve

MODES = ("easy", "hard")
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
MIMIC_EASY_CASES = ("nonfinite", "extra_key", "labels_not_nested", "zero_group")
MIMIC_HARD_CASES = ("constant_column", "object_labels")
ICD9_TASK = 7  # the task of InfMasking, CoMM and FactorCL
_ICD9_PREVALENCE = 0.34
_ZERO_GROUP = 14
_MIN_ROWS = {"affect": 12, "mimic": 40}
_DEFAULT_ROWS = {"affect": 24, "mimic": 200}
_SCORE_STEP = {"mosi": 0.2, "mosei": 1 / 3}
DATASETS = tuple(r.name for r in releases.RELEASES if r.name != "mosi_47")
# Made by modules of their own, `data_prep.datasets.NAME.fixture`.
FOLDER_DATASETS = ("vision_touch", "mmimdb", "hateful_memes", "cremad")


@dataclasses.dataclass(frozen=True)
class _Plan:
  """What to write, after the arguments are checked."""

  release: releases.Release
  cases: frozenset[str]
  signal: str
  strength: float
  signed_labels: bool


def make_fixture(
  name: str,
  out_dir: str | os.PathLike,
  seed: int = 0,
  num_examples: int | None = None,
  *,
  mode: str = "easy",
  cases: Sequence[str] | None = None,
  signal: str = "mixed",
  strength: float = 6.0,
  protocol: int = 3,
  numpy_spelling: str = "new",
  python2: bool = False,
  signed_labels: bool = False,
) -> dict:
  """Writes the source file of a data set, and `FILE.manifest.json` beside it.

  Same arguments, same bytes (for one version of NumPy). Modality 1 is vision (MIMIC: tabular), modality
  2 text (MIMIC: timeseries); audio carries the redundant bit only. Labels: MOSI and MOSEI scores whose
  sign is the label, magnitude |1.5 + N(0, 0.5)| up to 3 on a grid of 0.2 (MOSI) or 1/3 (MOSEI), and 5 %
  of rows exactly 0 (all of them negatives, so that the rule `> 0` is exact); UR-FUNNY and MUStARD 0 or
  1; MIMIC column 7 of `y_icd9`, 34 % positive.

  Folders of images, recordings or HDF5 files are made by `data_prep.datasets.NAME.fixture.make`, which
  says what is in them.

  Args:
    name: one of `DATASETS` or `FOLDER_DATASETS`.
    out_dir: folder, made if missing.
    seed: of everything random.
    num_examples: rows of train (valid and test have a third each); MIMIC, which is split later: of the
      file. 24 and 200 by default, at least 12 and 40.
    mode: "easy" holds the special rows that the published pipelines cope with; "hard" also those that
      need the `clean` policy or an error (NaN, 1e300, a constant column, missing labels).
    cases: exactly these special cases instead of the mode's.
    signal: one of `planted.SIGNALS`.
    strength: of every planted bit, see `planted.draw_steps`.
    protocol: of the pickle, 0 to 5.
    numpy_spelling: "old" (`numpy.core`) or "new" (`numpy._core`).
    python2: write as Python 2 would.
    signed_labels: MUStARD only: labels {-1, 1} of shape [rows, 1, 1] instead of {0, 1}, [rows, 1].

  Returns:
    The manifest: "file", "sha256", "rows" and "rows_kept" per split, "special_rows" (case -> split ->
    rows), "sources" (split -> bit -> list of 0 and 1, by row before any drop), and the arguments.

  Raises:
    ValueError: an argument is out of range, or a file of that name exists that no fixture wrote.

  Source: docs/spec/data.md 3.9, 4.5, 12. It wants under 2 MB; 24 + 8 + 8 rows of true width are 3
  to 17.
  """
  if name in FOLDER_DATASETS:
    if (protocol, numpy_spelling, python2, signed_labels) != (3, "new", False, False):
      raise ValueError(
        f"{name} is no pickle: leave protocol, numpy_spelling, python2 and signed_labels at their "
        "defaults"
      )
    module = importlib.import_module(f"data_prep.datasets.{name}.fixture")
    options = {} if mode == "easy" else {"mode": mode}
    return module.make(
      out_dir, seed=seed, num_examples=num_examples, cases=cases, signal=signal, strength=strength,
      **options,
    )  # fmt: skip
  plan, num_rows = _make_plan(name, num_examples, mode, cases, signal, strength, signed_labels)
  generator = np.random.default_rng([seed, zlib.crc32(name.encode())])
  if name == "mimic":
    tree, sources, special = _make_mimic(generator, plan, num_rows)
    rows = rows_kept = {"all": num_rows}
  else:
    tree, sources, special = _make_affect(generator, plan, num_rows)
    rows = {split: len(part["text"]) for split, part in tree.items()}
    empty = [special.get(case, {}) for case in ("empty_text", "empty_text_ends")]
    rows_kept = {s: n - len(set().union(*(e.get(s, ()) for e in empty))) for s, n in rows.items()}
  path = pathlib.Path(out_dir) / plan.release.files[0]
  manifest_path = path.with_name(path.name + ".manifest.json")
  if path.exists() and not manifest_path.exists():
    raise ValueError(
      f"{path} exists and is no fixture: choose another folder, it may be the real data"
    )
  path.parent.mkdir(parents=True, exist_ok=True)
  draft = path.with_name(path.name + ".part")
  pickle_writer.dump(tree, draft, protocol=protocol, numpy_spelling=numpy_spelling, python2=python2)
  manifest = {
    "dataset": name, "file": path.name, "sha256": inspect.sha256(draft), "seed": seed, "mode": mode,
    "cases": sorted(plan.cases), "signal": signal, "strength": strength, "protocol": protocol,
    "numpy_spelling": numpy_spelling, "python2": python2, "signed_labels": signed_labels,
    "rows": rows, "rows_kept": rows_kept, "special_rows": special,
    "sources": {split: _bits_to_lists(bits) for split, bits in sources.items()},
  }  # fmt: skip
  # The manifest first: a file without one is never overwritten.
  manifest_path.write_text(json.dumps(manifest) + "\n")
  os.replace(draft, path)
  return manifest


def _make_plan(name, num_examples, mode, cases, signal, strength, signed_labels):
  if name not in DATASETS:
    raise ValueError(f"dataset: expected one of {DATASETS + FOLDER_DATASETS}, found {name!r}")
  if mode not in MODES:
    raise ValueError(f"mode: expected one of {MODES}, found {mode!r}")
  family = "mimic" if name == "mimic" else "affect"
  num_rows = _DEFAULT_ROWS[family] if num_examples is None else num_examples
  if num_rows < _MIN_ROWS[family]:
    raise ValueError(
      f"num_examples: expected at least {_MIN_ROWS[family]} for {name}, found {num_rows}"
    )
  easy = MIMIC_EASY_CASES if name == "mimic" else tuple(EASY_CASES)
  known = easy + (MIMIC_HARD_CASES if name == "mimic" else tuple(HARD_CASES))
  chosen = cases if cases is not None else (easy if mode == "easy" else known)
  if set(chosen) - set(known):
    raise ValueError(
      f"cases: expected some of {known} for {name}, found {sorted(set(chosen) - set(known))}"
    )
  if not 0 <= strength <= 100:
    raise ValueError(f"strength: expected a number in [0, 100], found {strength!r}")
  if signed_labels and name != "mustard":
    raise ValueError(f"signed_labels: only MUStARD has this variant, found {name!r}")
  release = releases.get(name)
  return _Plan(release, frozenset(chosen), signal, strength, signed_labels), num_rows


def _bits_to_lists(sources: planted.Sources) -> dict[str, list[int]]:
  names = [field.name for field in dataclasses.fields(sources)] + ["synergy"]
  return {name: getattr(sources, name).astype(int).tolist() for name in names}


def _make_affect(generator, plan: _Plan, num_train: int):
  widths = plan.release.widths
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
    if case in plan.cases
  }
  tree, sources, first = {}, {}, 0
  for split, num_rows in zip(releases.SPLITS, (num_train, num_other, num_other), strict=True):
    rows = {case: where.get(split, []) for case, where in special.items()}
    tree[split], sources[split] = _make_split(generator, plan, directions, num_rows, rows, first)
    first += num_rows
  return tree, sources, special


def _make_split(generator, plan: _Plan, directions, num_rows: int, rows, first: int):
  bits = planted.draw_sources(generator, num_rows, signal=plan.signal)
  carried = {
    "vision": (bits.redundancy, bits.unique_1, bits.gate_1),
    "audio": (bits.redundancy,),
    "text": (bits.redundancy, bits.unique_2, bits.gate_2),
  }
  length = plan.release.length
  part = {
    name: planted.draw_steps(
      generator, carried[name], directions[name], num_steps=length, strength=plan.strength
    )
    for name in releases.MODALITIES
  }
  lengths = generator.integers(5, length, num_rows, endpoint=True)
  lengths[rows.get("length_one", [])] = 1
  lengths[rows.get("full_length", [])] = length
  lengths[rows.get("interior_zero_row", [])] = length // 2
  real = np.arange(length) >= length - lengths[:, None]  # content at the end, zeros in front
  if "constant_columns" in plan.cases:
    part["vision"][..., 0] = part["audio"][..., 0] = 1.0
  for array in part.values():
    array[~real] = 0
  _spoil(generator, plan, part, real, rows)
  for name, dtype in plan.release.dtypes.items():
    part[name] = part[name].astype(dtype, copy=False)
  part["labels"] = _make_labels(generator, plan, bits.label)
  part["id"] = _make_ids(plan.release, first, num_rows)
  if "extra_key" in plan.cases:
    part["raw_text"] = [f"words of row {first + i}" for i in range(num_rows)]
  return part, bits


def _spoil(generator, plan: _Plan, part, real, rows) -> None:
  """Puts the special rows of a split into its arrays, in place."""
  text, vision, audio = part["text"], part["vision"], part["audio"]
  if "neginf_audio" in plan.cases:  # 1 % of what is not padding, but at least one entry
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


def _make_labels(generator, plan: _Plan, label: np.ndarray) -> np.ndarray:
  step = _SCORE_STEP.get(plan.release.dataset)
  if step is None:
    values = label.astype(np.float64)[:, None]
    return (2 * values - 1)[:, None] if plan.signed_labels else values
  size = np.abs(1.5 + 0.5 * generator.standard_normal(len(label)))
  score = np.clip(np.round(size / step), 1, round(3 / step)) * step * np.where(label, 1, -1)
  if "zero_scores" in plan.cases:
    negatives = generator.permutation(np.flatnonzero(~label))
    score[negatives[: max(1, round(0.05 * len(label)))]] = 0
  dtype = np.float32 if plan.release.name == "mosei" else np.float64
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


def _make_mimic(generator, plan: _Plan, num_rows: int):
  bits = planted.draw_sources(generator, num_rows, signal=plan.signal, prevalence=_ICD9_PREVALENCE)
  directions = planted.draw_directions(generator, 3, 12)
  series = planted.draw_steps(
    generator, (bits.redundancy, bits.unique_2, bits.gate_2), directions,
    num_steps=24, strength=plan.strength,
  )  # fmt: skip
  scale = generator.uniform(1, 20, 12)
  series = scale * (series + generator.uniform(0.5, 3, 12))
  tabular = _make_tabular(generator, bits, constant="constant_column" in plan.cases)
  if "nonfinite" in plan.cases:
    for array in (series, tabular):
      flat = array.reshape(-1)
      where = generator.choice(flat.size, max(3, flat.size // 200), replace=False)
      flat[where] = np.resize([np.nan, np.inf, -np.inf], len(where))
  groups = (generator.random((num_rows, 20)) < generator.uniform(0.05, 0.5, 20)).astype(np.float64)
  groups[:, ICD9_TASK] = bits.label
  if "zero_group" in plan.cases:
    groups[:, _ZERO_GROUP] = 0
  admission, special = _make_admission_labels(generator, plan, bits)
  tree = {
    "ep_tdata": series, "adm_features_all": tabular, "adm_labels_all": admission, "y_icd9": groups,
  }  # fmt: skip
  if "extra_key" in plan.cases:
    tree["ep_data"] = generator.standard_normal((num_rows, 3))
  return tree, {"all": bits}, special


def _make_tabular(generator, bits: planted.Sources, *, constant: bool) -> np.ndarray:
  """Age in days, AIDS, haematologic malignancy, metastatic cancer, admission type: float64[rows, 5]."""
  num_rows = len(bits.label)
  years = 50 + 25 * bits.redundancy + 5 * generator.standard_normal(num_rows)
  aids = generator.permutation(np.arange(num_rows) < max(1, num_rows // 20)) & (not constant)
  kind = generator.integers(3, size=num_rows)
  return np.stack([years * 365.242, aids, bits.gate_1, bits.unique_1, kind], 1).astype(np.float64)


def _make_admission_labels(generator, plan: _Plan, bits: planted.Sources):
  """In-hospital, 1, 2, 3, 30 days and 1 year: nested, but for two rows; float64[rows, 6]."""
  num_rows = len(bits.label)
  first = generator.integers(1, 6, num_rows)
  dead = generator.random(num_rows) < 0.2 + 0.2 * bits.redundancy
  labels = np.zeros((num_rows, 6))
  labels[:, 1:] = dead[:, None] & (np.arange(1, 6) >= first[:, None])
  labels[:, 0] = dead & (first <= 4)
  special = {}
  if "labels_not_nested" in plan.cases:
    special["labels_not_nested"] = {"all": [3, 4]}
    labels[3:5] = [0, 0, 1, 0, 1, 1]
  if "object_labels" in plan.cases:
    special["object_labels"] = {"all": [5, 6]}
    labels = labels.astype(object)
    labels[5:7, 1] = None
  return labels, special


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the command; returns the exit status."""
  parser = argparse.ArgumentParser(
    prog="python -m data_prep.fixtures", description=__doc__.split("\n")[0]
  )
  parser.add_argument("dataset", choices=DATASETS + FOLDER_DATASETS)
  parser.add_argument("--out", type=resolve, required=True, help="folder to write to")
  parser.add_argument("--num_examples", type=int, help="rows of train (mimic: of the file)")
  parser.add_argument("--numpy_spelling", choices=pickle_writer.NUMPY_SPELLINGS, default="new")
  parser.add_argument("--protocol", type=int, choices=pickle_writer.PROTOCOLS, default=3)
  parser.add_argument("--mode", choices=MODES, default="easy")
  parser.add_argument("--signal", choices=planted.SIGNALS, default="mixed")
  parser.add_argument("--strength", type=float, default=6.0)
  parser.add_argument("--seed", type=int, default=0)
  options = vars(parser.parse_args(arguments))
  try:
    manifest = make_fixture(options.pop("dataset"), options.pop("out"), **options)
  except (OSError, ValueError, ImportError) as error:
    sys.stderr.write(f"error: {error}\n")
    return 1
  sys.stdout.write(
    json.dumps({k: v for k, v in manifest.items() if k != "sources"}, indent=1) + "\n"
  )
  return 0


if __name__ == "__main__":
  sys.exit(main())
