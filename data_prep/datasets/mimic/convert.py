"""Converts `im.pk`, MultiBench's MIMIC-III: python -m data_prep.convert mimic --source=im.pk.

The data and everything made of them stay under the MIMIC-III data use agreement (`LICENCE`). All labels
of all tasks are stored, so that one conversion serves every experiment.
"""

import pathlib
import random
import sys
from collections.abc import Iterator, Mapping

import numpy as np

from data_prep.read import contents, pickle_scan, releases, safe_pickle, sniff, source_files
from data_prep.write import shards

OPTIONS = {
  "--statistics": {
    "choices": ("both", "all", "train", "none"),
    "default": "both",
    "help": "rows whose mean and std standardise the features: all (published, which lets the test rows "
    "in: config.protocol=paper), train (clean), both: a dataset of each, or none (raw values)",
  },
  "--zero_var": {
    "choices": ("error", "ones"),
    "default": "error",
    "help": "what a constant column does under --statistics=all: stop, or count as std = 1",
  },
}
LICENCE = (
  "MIMIC-III is shared under the PhysioNet credentialed data use agreement. It covers this file and the "
  "shards made of it: keep them on access-controlled storage, give them to nobody without an agreement "
  "of their own, and delete them when asked to."
)
SPLIT_SEED = 10
PUBLISHED_TASK = 7  # column of y_icd9 in CoMM, InfMasking and FactorCL: respiratory diseases
CONFIGS = {"all": "zscore_all", "train": "zscore_train", "none": "raw"}
_FEATURES = {"tabular": "adm_features_all", "timeseries": "ep_tdata"}
_LABELS = ("adm_labels_all", "y_icd9")
_TABULAR_COLUMNS = (
  "age in days", "AIDS", "haematologic malignancy", "metastatic cancer", "admission type",
)  # fmt: skip
_EXPECTED_COUNTS = {"train": 26093, "validation": 3261, "test": 3262}
_CITATION = (
  "Johnson et al., MIMIC-III, Scientific Data 2016; Purushotham et al., Benchmarking deep learning "
  "models on large healthcare datasets, JBI 2018; Liang et al., MultiBench, NeurIPS 2021"
)


def plan(
  dataset: str, source: pathlib.Path, *, statistics: str = "both", zero_var: str = "error"
) -> Iterator[shards.Plan]:
  """Plans the datasets `mimic3_multibench/{zscore_all, zscore_train, raw}`.

  Values that are not finite become 0; then x = (x - mean) / std with the population std, per column of
  the tabular features and per variable (over rows and hours) of the series, in float64; then float32.
  Examples are in the order of the published split (`split_rows`).

  Args:
    dataset: "mimic".
    source: `im.pk`, or the folder it lies in.
    statistics: rows that give mean and std: "all" is what MultiBench, CoMM and InfMasking do; "train"
      leaks nothing; "both" plans these two; "none" leaves the values raw.
    zero_var: "error" or "ones", for columns that are constant over all rows, where the published code
      divides by 0. Columns that are constant in the train rows get std = 1 under "train".

  Yields:
    A `shards.Plan` for each of the statistics.

  Raises:
    ConversionError: the file is not this pickle, an array is missing or has a shape that the
      labels' meaning or the split contradict, a column is constant or not finite afterwards.

  Source: docs/spec/data.md 4.2 to 4.4. Numbers of rows, hours and variables are those of the file.
  """
  sys.stderr.write(f"note: {LICENCE}\n")
  path = _find(pathlib.Path(source))
  tree = _load(path)
  warnings: list[str] = []
  arrays = _check_arrays(path, tree, warnings)
  for rows in ("all", "train") if statistics == "both" else (statistics,):
    yield _plan_one(path, tree, arrays, rows, zero_var, list(warnings))


def _plan_one(path, tree, arrays, statistics: str, zero_var: str, warnings) -> shards.Plan:
  """Plans the dataset of one of the statistics; warnings are those about the arrays."""
  num_rows = len(arrays["ep_tdata"])
  rows = split_rows(num_rows)
  nonfinite = {key: _count_nonfinite(arrays[key]) for key in _FEATURES.values()}
  columns, scaling = {}, {}
  for name, key in _FEATURES.items():
    columns[name], scaling[key] = _standardise(
      path, key, arrays[key], rows["train"], statistics, zero_var, warnings
    )
  labels = _make_labels(arrays, warnings)
  columns |= labels
  counts = {split: len(indices) for split, indices in rows.items()}
  if counts != _EXPECTED_COUNTS:
    warnings.append(
      f"count: expected {releases.get('mimic').counts['all']:,} rows, found {num_rows:,}; the split "
      "depends on the number of rows, so it is not the published one"
    )
  metadata = _describe_dataset(path, tree, labels, rows, warnings) | {
    "statistics": statistics, "zero_var": zero_var, "scaling": scaling, "nonfinite_set_to_0": nonfinite,
  }  # fmt: skip
  return shards.Plan(
    name="mimic3_multibench",
    config=CONFIGS[statistics],
    features=_make_features(columns),
    splits={split: _examples(columns, indices) for split, indices in rows.items()},
    counts=counts,
    metadata=metadata,
    nbytes=sum(array.nbytes for array in columns.values()) + 200 * num_rows,
    citation=_CITATION,
    description=f"MIMIC-III, first 24 hours, as MultiBench preprocessed it. {LICENCE}",
  )


def split_rows(num_rows: int) -> dict[str, list[int]]:
  """Returns the published split: rows of train, validation and test, in the order of the permutation.

  Python's `random.shuffle` after `random.seed(10)`; it depends on the number of rows only.
  """
  order = list(range(num_rows))
  random.Random(SPLIT_SEED).shuffle(order)
  tenth, fifth = num_rows // 10, num_rows // 5
  return {"train": order[fifth:], "validation": order[:tenth], "test": order[tenth:fifth]}


def mortality_class(admission: np.ndarray) -> np.ndarray:
  """Returns int64[rows]: the first of columns 1 to 5 that is positive, or 0; column 0 is not used.

  Missing (NaN) is not positive.
  """
  positive = admission[:, 1:6] > 0
  return np.where(positive.any(1), positive.argmax(1) + 1, 0)


def _find(source: pathlib.Path) -> pathlib.Path:
  names = releases.get("mimic").files
  if source.is_dir():
    found = [source / name for name in names if (source / name).is_file()]
    if not found:
      raise source_files.ConversionError(
        f"{source}: expected {' or '.join(names)} in this folder, found neither. Pass the file itself "
        "if it has another name."
      )
    source_files.require_inside(source, found[0].name)
    return found[0]
  if not source.is_file():
    raise source_files.ConversionError(
      f"{source}: expected {names[0]} or its folder, found nothing. The file is given out by the "
      "authors of MultiBench to holders of a PhysioNet agreement; see README."
    )
  return source


def _load(path: pathlib.Path) -> dict:
  try:
    sniff.require(path, "pickle", what="im.pk of MIMIC-III")
    tree = safe_pickle.load(path)
  except (
    sniff.WrongFileError,
    safe_pickle.UnsafePickleError,
    pickle_scan.DamagedPickleError,
  ) as error:
    raise source_files.ConversionError(str(error)) from error
  match = releases.match(tree)
  if match.dataset != "mimic":
    if match.release:
      looks = f"which looks like {match.release.files[0]} of {match.release.dataset}"
      advice = f"Convert it with `python -m data_prep.convert {match.release.name}`."
    else:
      looks = "which is no file that is known"
      if match.dataset == "affect":
        looks = "which looks like a MultiBench affect file (MOSI and relatives) of unknown widths"
      advice = "Use `python -m data_prep.inspect` to see what it holds."
    raise source_files.ConversionError(
      f"{path}: expected im.pk of MIMIC-III, a dict with the keys {_show(releases.MIMIC_KEYS)}; found "
      f"{_describe(tree)}, {looks}. {advice}"
    )
  missing = [key for key in releases.MIMIC_KEYS if key not in tree]
  if missing:
    raise source_files.ConversionError(
      f"{path}: expected the keys {_show(releases.MIMIC_KEYS)}; {_show(missing)} missing, found "
      f"{_show(tree)}. Ask for the complete file."
    )
  return tree


def _describe(tree: object) -> str:
  return f"a dict with {_show(tree)}" if isinstance(tree, dict) else f"a {type(tree).__name__}"


def _show(keys) -> str:
  keys = [ascii(key) for key in keys]
  return ", ".join(keys[:8]) + (", ..." if len(keys) > 8 else "")


def _check_arrays(path, tree: Mapping, warnings: list[str]) -> dict[str, np.ndarray]:
  """The four arrays in float64 (missing labels NaN), of one number of rows and of known widths."""
  release = releases.get("mimic")
  arrays = {key: _to_numbers(path, key, tree[key], warnings) for key in releases.MIMIC_KEYS}
  for key, array in arrays.items():
    if array.ndim != (3 if key == "ep_tdata" else 2) or 0 in array.shape[1:]:
      what = "[rows, hours, variables]" if key == "ep_tdata" else "[rows, columns]"
      raise source_files.ConversionError(
        f"{path}: {key}: expected an array {what}, found shape {array.shape}. It is not "
        "MultiBench's file."
      )
    if key != "ep_tdata" and array.shape[1] != release.widths[key]:
      raise source_files.ConversionError(
        f"{path}: {key}: expected {release.widths[key]} columns, found {array.shape[1]}. What the "
        "columns mean is known for MultiBench's file only."
      )
  lengths = {key: len(array) for key, array in arrays.items()}
  if len(set(lengths.values())) > 1:
    raise source_files.ConversionError(
      f"{path}: expected as many rows in every array, found {lengths}. The file is damaged or edited."
    )
  num_rows = lengths["ep_tdata"]
  if num_rows < 10:
    raise source_files.ConversionError(
      f"{path}: expected at least 10 rows (a tenth each for validation and test), found {num_rows}."
    )
  size = arrays["ep_tdata"].shape[1:]
  if size != (release.length, release.widths["ep_tdata"]):
    warnings.append(
      f"shape: ep_tdata: expected {release.length} hours of {release.widths['ep_tdata']} variables, "
      f"found {size[0]} of {size[1]}; converted as found"
    )
  return arrays


def _to_numbers(path, key: str, array: object, warnings: list[str]) -> np.ndarray:
  """A copy in float64; `None` among labels becomes NaN."""
  kind = array.dtype.kind if isinstance(array, np.ndarray) else ""
  if kind and kind in "biuf":
    return array.astype(np.float64)
  found = f"an array of dtype {array.dtype}" if kind else f"a {type(array).__name__}"
  if kind == "O" and key in _LABELS:
    try:
      values = np.array([np.nan if v is None else v for v in array.flat], np.float64)
    except (TypeError, ValueError):
      values = None
    if values is not None:
      missing = sum(v is None for v in array.flat)
      warnings.append(
        f"object_labels: {key}: expected numbers, found Python objects; {missing} None became missing"
      )
      return values.reshape(array.shape)
  raise source_files.ConversionError(
    f"{path}: {key}: expected an array of numbers, found {found}. It is not MultiBench's file."
  )


def _standardise(path, key: str, values, train: list[int], statistics, zero_var, warnings):
  """(float32 like values, {"mean": [...], "std": [...]})."""
  values = np.where(np.isfinite(values), values, 0)
  width = values.shape[-1]
  scaling = {"mean": [0.0] * width, "std": [1.0] * width}
  if statistics != "none":
    sample = (values[train] if statistics == "train" else values).reshape(-1, width)
    with np.errstate(over="ignore", invalid="ignore"):
      mean, std = sample.mean(0), sample.std(0)
    _require_finite(path, key, np.stack([mean, std]), "mean and std")
    # Not `std == 0`: the mean of a constant may be off by a rounding, which leaves a tiny std.
    constant = sample.min(0) == sample.max(0)
    for column in np.flatnonzero(constant):
      where = f"{_column_name(key, column)} is constant"
      if statistics == "all" and zero_var == "error":
        raise source_files.ConversionError(
          f"{path}: zero variance: {where}; expected columns that vary, for the published code divides "
          "by their std. Pass --zero_var=ones to take 1 for it, or --statistics=train."
        )
      rows = "all rows" if statistics == "all" else "the train rows"
      warnings.append(f"zero_variance: {where} over {rows}; its std counts as 1")
    std = np.where(constant, 1.0, std)
    values -= mean
    values /= std
    scaling = {"mean": mean.tolist(), "std": std.tolist()}
  with np.errstate(over="ignore"):
    result = values.astype(np.float32)
  _require_finite(path, key, result, "float32 values")
  return result, scaling


def _require_finite(path, key: str, values: np.ndarray, what: str) -> None:
  bad = ~np.isfinite(values).reshape(-1, values.shape[-1])
  if bad.any():
    column = int(bad.any(0).argmax())
    raise source_files.ConversionError(
      f"{path}: {_column_name(key, column)}: expected finite {what}, found {int(bad[:, column].sum())} "
      "that are not: its entries are too large for float32 or for their sum of squares. Look at the "
      "column with `python -m data_prep.inspect` and mend or remove those entries."
    )


def _column_name(key: str, column: int) -> str:
  name = f" ({_TABULAR_COLUMNS[column]})" if key == "adm_features_all" else ""
  return f"{key} column {column}{name}"


def _count_nonfinite(values: np.ndarray) -> dict[str, int]:
  counts = contents.count_values(values)
  return {what: counts[what] for what in ("nan", "posinf", "neginf")}


def _make_labels(arrays: Mapping[str, np.ndarray], warnings: list[str]) -> dict[str, np.ndarray]:
  admission = arrays["adm_labels_all"]
  _check_admission(admission, warnings)
  return {
    "icd9": _make_icd9(arrays["y_icd9"], warnings),
    "mortality6": mortality_class(admission),
    "adm_labels": admission.astype(np.float32),
  }


def _make_icd9(values: np.ndarray, warnings: list[str]) -> np.ndarray:
  """0, 1, or -1 where missing, int32[rows, 20]; any other value counts as missing."""
  missing = np.isnan(values)
  strange = ~missing & (values != 0) & (values != 1)
  if missing.any():
    columns = np.flatnonzero(missing.any(0)).tolist()
    warnings.append(
      f"icd9_missing: y_icd9: {int(missing.sum())} values of columns {columns} are missing; stored as -1"
    )
  if strange.any():
    columns, examples = np.flatnonzero(strange.any(0)).tolist(), np.unique(values[strange])[:5]
    warnings.append(
      f"icd9_values: y_icd9: expected 0, 1 or missing, found {int(strange.sum())} others in columns "
      f"{columns}, such as {examples.tolist()}; stored as -1 (missing)"
    )
  return np.where(missing | strange, -1, values).astype(np.int32)


def _check_admission(values: np.ndarray, warnings: list[str]) -> None:
  missing = np.isnan(values)
  if missing.any():
    warnings.append(
      f"adm_labels_missing: adm_labels_all: {int(missing.sum())} values are missing, per column "
      f"{missing.sum(0).tolist()}; stored as NaN, and mortality6 counts them as survival"
    )
  strange = ~missing & (values != 0) & (values != 1)
  if strange.any():
    warnings.append(
      f"adm_labels_values: adm_labels_all: expected 0, 1 or missing, found {int(strange.sum())} others; "
      "stored as they are, and mortality6 counts what is above 0 as death"
    )


def _describe_dataset(path, tree, labels, rows, warnings) -> dict:
  counts = {split: len(indices) for split, indices in rows.items()}
  baselines = _constant_baselines(labels, rows)
  for task in ("mortality6", f"icd9_{PUBLISHED_TASK}"):
    if task in baselines:
      scores = baselines[task]["test"]
      sys.stderr.write(
        f"note: {task}: always answering the majority class of train has an accuracy of "
        f"{scores['accuracy']:.2%} on test, {scores['macro_accuracy']:.2%} as the mean over classes\n"
      )
  return shards.describe(
    "mimic",
    source={path.name: {"size": path.stat().st_size, "sha256": source_files.sha256(path)}},
    counts_before_drop=counts,
    counts=counts,
    expected_counts=_EXPECTED_COUNTS,
    labels={split: _count_labels(labels, indices) for split, indices in rows.items()},
    warnings=warnings,
    schema=contents.describe_tree(tree),
    baselines=baselines,
    licence=LICENCE,
    split=f"random.Random({SPLIT_SEED}).shuffle; the first tenth validation, the second test",
  )


def _count_labels(labels: Mapping[str, np.ndarray], indices: list[int]) -> dict:
  groups, known = labels["icd9"][indices], labels["icd9"][indices] >= 0
  rates = (groups == 1).sum(0) / np.maximum(known.sum(0), 1)
  return {
    "mortality6": np.bincount(labels["mortality6"][indices], minlength=6).tolist(),
    "icd9_positive_rate": rates.tolist(),
    "icd9_missing": (~known).sum(0).tolist(),
    "adm_labels_missing": np.isnan(labels["adm_labels"][indices]).sum(0).tolist(),
  }


def _constant_baselines(labels: Mapping[str, np.ndarray], rows) -> dict:
  """What always answering the majority class of train scores: task -> split -> two accuracies."""
  tasks = {"mortality6": labels["mortality6"]}
  tasks |= {f"icd9_{task}": labels["icd9"][:, task] for task in range(labels["icd9"].shape[1])}
  report = {}
  for task, values in tasks.items():
    train = values[rows["train"]]
    known = train[train >= 0]
    if not len(known):
      continue
    majority = int(np.bincount(known).argmax())
    report[task] = {"majority_class": majority}
    for split, indices in rows.items():
      part = values[indices]
      part = part[part >= 0]
      right, classes = part == majority, max(1, len(np.unique(part)))
      report[task][split] = {
        "accuracy": float(right.mean()) if len(part) else 0.0,
        "macro_accuracy": float(right.any() / classes),
      }
  return report


def _make_features(columns: Mapping[str, np.ndarray]) -> dict:
  return {
    "tabular": shards.array(columns["tabular"].shape[1:], np.float32),
    "timeseries": shards.array(columns["timeseries"].shape[1:], np.float32),
    "icd9": shards.array(columns["icd9"].shape[1:], np.int32),
    "mortality6": shards.scalar(np.int64),
    "adm_labels": shards.array(columns["adm_labels"].shape[1:], np.float32),
    "source_index": shards.scalar(np.int64),
  }


def _examples(columns: Mapping[str, np.ndarray], indices: list[int]):
  """Returns what makes the examples of a split."""

  def make() -> Iterator[dict]:
    for row in indices:
      yield {name: array[row] for name, array in columns.items()} | {"source_index": row}

  return make
