"""The published files of each dataset: names, sizes, dimensions, counts; and which of them a tree is.

docs/spec/data.md tells what is measured from what is inferred; nobody opened a real file while
writing it. Converters therefore compare and report ("expected against found"), and stop only on
contradictions.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

SPLITS = ("train", "valid", "test")
SPLIT_ALIASES = dict.fromkeys(("valid", "val", "validation", "dev"), "valid")
SPLIT_ALIASES |= {"train": "train", "test": "test"}
MODALITIES = ("vision", "audio", "text")
MIMIC_KEYS = ("ep_tdata", "adm_features_all", "adm_labels_all", "y_icd9")


@dataclasses.dataclass(frozen=True)
class Release:
  """One published file.

  Attributes:
    name: of this variant, as `data_prep.fixtures` takes it.
    dataset: the dataset it belongs to, as `data_prep.convert` takes it.
    files: names it is found under.
    widths: modality (or MIMIC key) -> last dimension.
    length: time steps.
    counts: split -> rows before any drop; None where unknown.
    counts_kept: split -> rows after dropping rows without text; None where unknown.
    dtypes: modality (or MIMIC key) -> dtype as stored.
    label: what the labels are, in words.
    ids: layout of the segment ids: "table" ([rows, 3]), "list", "number" ([rows, 1]), "vector" ([rows])
      or "none".
    size: bytes; None where unknown.
    sha256: of the file; None where unknown.
    note: what sets it apart, for the report.
  """

  name: str
  dataset: str
  files: tuple[str, ...]
  widths: Mapping[str, int]
  length: int
  counts: Mapping[str, int] | None
  dtypes: Mapping[str, str]
  label: str
  ids: str
  counts_kept: Mapping[str, int] | None = None
  size: int | None = None
  sha256: str | None = None
  note: str = ""


@dataclasses.dataclass(frozen=True)
class Match:
  """How a tree relates to the known releases.

  Attributes:
    release: the closest one whose layout fits; None when none does.
    exact: layout and every known count, length and dtype agree.
    differences: "what: expected X, found Y" lines.
    dataset: what the keys say it is, also when no release fits: "mimic", "affect" or None.
  """

  release: Release | None
  exact: bool
  differences: tuple[str, ...]
  dataset: str | None


def _counts(train: int, valid: int, test: int) -> dict[str, int]:
  return {"train": train, "valid": valid, "test": test}


def _affect(name, dataset, files, vision, audio, length, ids, label, **rest) -> Release:
  dtypes = rest.pop("dtypes", {"vision": "float64", "audio": "float64", "text": "float64"})
  widths = {"vision": vision, "audio": audio, "text": 300}
  rest = {"counts": None} | rest
  return Release(name, dataset, files, widths, length, dtypes=dtypes, label=label, ids=ids, **rest)


_SCORE = "sentiment score in [-3, 3], [rows, 1, 1]"
RELEASES = (
  _affect(
    "mosi", "mosi", ("mosi_data.pkl",), 20, 5, 50, "table", _SCORE,
    counts=_counts(1284, 229, 686), size=154_041_300,
    sha256="1a113ad5edc8b9b625a7e29e6b94a97ecade70494c4e022d9f7ba5affca3bbdc",
    dtypes={"vision": "float64", "audio": "float64", "text": "float32"},
    note="the file of InfMasking, CoMM and FactorCL",
  ),
  _affect(
    "mosi_raw", "mosi", ("mosi_raw.pkl",), 35, 74, 50, "list", _SCORE,
    counts_kept=_counts(1283, 214, 686), note="text and audio can be misaligned in long segments",
  ),
  _affect(
    "mosi_47", "mosi", ("mosi.pkl",), 47, 74, 50, "table", _SCORE,
    note="a re-extraction of other projects, which no published MultiBench number uses",
  ),
  _affect(
    "mosei", "mosei", ("mosei_senti_data.pkl", "mosei_data.pkl"), 35, 74, 50, "table", _SCORE,
    counts=_counts(16265, 1869, 4643), size=3_730_509_179,
    sha256="31007381c01dd346945ed8a64c7321239de5aaf1ef05bf112e952848a823186d",
  ),
  _affect(
    "mosei_raw", "mosei", ("mosei_raw.pkl",), 713, 74, 50, "list", _SCORE,
    counts_kept=_counts(16327, 1871, 4662),
  ),
  _affect(
    "urfunny", "urfunny", ("humor.pkl", "ur_funny_data.pkl"), 371, 81, 20, "number",
    "humour, 0 or 1, [rows, 1]", counts=_counts(8074, 1034, 1058), note="UR-FUNNY V2",
  ),
  _affect(
    "mustard", "mustard", ("sarcasm.pkl", "mustard_data.pkl"), 371, 81, 50, "vector",
    "sarcasm, {0, 1} or {-1, 1}", counts=_counts(414, 138, 138),
  ),
  Release(
    "mimic", "mimic", ("im.pk", "im.pkl"),
    {"ep_tdata": 12, "adm_features_all": 5, "adm_labels_all": 6, "y_icd9": 20}, 24,
    {"all": 32616}, dict.fromkeys(MIMIC_KEYS, "float64"),
    "y_icd9[:, task] (20 binary ICD-9 groups), or 6-class mortality of adm_labels_all", "none",
    note="under the MIMIC-III data use agreement: keep it, and shards made of it, under access control",
  ),
)  # fmt: skip


def get(name: str) -> Release:
  """Returns the release of that name; ValueError lists the names."""
  for release in RELEASES:
    if release.name == name:
      return release
  raise ValueError(f"release: expected one of {[r.name for r in RELEASES]}, found {name!r}")


def split_keys(tree: Mapping) -> dict[str, str]:
  """Maps train, valid and test to the keys a file has for them ("val", "dev", "validation" are valid)."""
  return {SPLIT_ALIASES[key]: key for key in tree if isinstance(key, str) and key in SPLIT_ALIASES}


def match(tree: object) -> Match:
  """Says which published file a loaded tree is, from its keys, dimensions, ids, counts and dtypes.

  Args:
    tree: what `safe_pickle.load` returned.

  Returns:
    A `Match`. Of several releases of one layout the one with the fewest differences is taken.

  Source: docs/spec/data.md 0, 3.2, 4.2.
  """
  if isinstance(tree, dict) and len(set(MIMIC_KEYS) & set(tree)) >= 2:
    return _match_mimic(tree)
  splits = split_keys(tree) if isinstance(tree, dict) else {}
  parts = {name: tree[key] for name, key in splits.items() if isinstance(tree[key], dict)}
  if not parts or not any(set(MODALITIES) & set(part) for part in parts.values()):
    return Match(None, False, (), None)
  widths, lengths = _affect_layout(parts)
  candidates = [r for r in RELEASES if r.dataset != "mimic" and _same_widths(r.widths, widths)]
  if not candidates:
    known = "; ".join(
      f"{r.name} {_show_widths(r.widths)}" for r in RELEASES if r.dataset != "mimic"
    )
    line = f"widths: found {_show_widths(widths)}, known are {known}"
    return Match(None, False, (line,), "affect")
  options = [(r, _affect_differences(r, parts, lengths)) for r in candidates]
  release, differences = min(options, key=lambda option: _distance(*option, parts, lengths))
  return Match(release, not differences, tuple(differences), release.dataset)


def _distance(release, differences, parts, lengths) -> tuple:
  """Time steps tell UR-FUNNY from MUStARD, the layout of ids MOSI from MOSEI; then the rest."""
  wrong_length = bool(lengths - {release.length})
  wrong_ids = _id_layout(parts) != release.ids
  return wrong_length, wrong_ids, len(differences)


def _same_widths(expected: Mapping, found: Mapping) -> bool:
  return len(found) >= 2 and all(expected[name] == width for name, width in found.items())


def _show_widths(widths: Mapping[str, int]) -> str:
  return ", ".join(f"{name} {width}" for name, width in widths.items())


def _affect_layout(parts: Mapping[str, dict]) -> tuple[dict[str, int], set[int]]:
  widths, lengths = {}, set()
  for part in parts.values():
    for name in MODALITIES:
      array = part.get(name)
      if isinstance(array, np.ndarray) and array.ndim == 3:
        widths[name] = array.shape[2]
        lengths.add(array.shape[1])
  return widths, lengths


def _affect_differences(release, parts, lengths) -> list[str]:
  lines = []
  if lengths != {release.length}:
    lines.append(f"time steps: expected {release.length}, found {sorted(lengths)}")
  for split in SPLITS:
    if split not in parts:
      lines.append(f"{split}: expected a split, found none")
  for split, part in parts.items():
    lines += [f"{split}: expected the key {k!r}, found none" for k in MODALITIES if k not in part]
    for name, expected in release.dtypes.items():
      found = getattr(part.get(name), "dtype", None)
      if found is not None and found != expected:
        lines.append(f"{split}/{name} dtype: expected {expected}, found {found}")
  found = _id_layout(parts)
  if found != release.ids:
    lines.append(f"ids: expected {release.ids}, found {found}")
  return lines + _count_differences(release, parts)


def _count_differences(release, parts) -> list[str]:
  if release.counts:
    expected, found, what = release.counts, {s: _num_rows(p) for s, p in parts.items()}, "rows"
  elif release.counts_kept:
    found = {split: count_with_text(part) for split, part in parts.items()}
    expected, what = release.counts_kept, "rows with text"
  else:
    return ["rows: no count is known for this release"]
  return [
    f"{split} {what}: expected {expected[split]:,}, found {found[split]:,}"
    for split in parts
    if found[split] != expected[split]
  ]


def count_with_text(part: Mapping) -> int:
  """Rows of a split that stay: dropped iff `text[i].sum() == 0` (docs/spec/data.md 3.4)."""
  text = part.get("text")
  if not isinstance(text, np.ndarray) or text.ndim != 3 or text.dtype.kind not in "fiu":
    return 0
  return sum(bool(row.sum() != 0) for row in text)


def _num_rows(part: Mapping) -> int:
  return next((len(part[name]) for name in MODALITIES if name in part), 0)


def _id_layout(parts: Mapping[str, dict]) -> str:
  ids = next((part["id"] for part in parts.values() if "id" in part), None)
  if isinstance(ids, list):
    return "list"
  if not isinstance(ids, np.ndarray):
    return "none"
  if ids.ndim == 2:
    return "table" if ids.shape[1] > 1 else "number"
  return "vector"


def _match_mimic(tree: dict) -> Match:
  release, lines = get("mimic"), []
  for key in MIMIC_KEYS:
    array = tree.get(key)
    if not isinstance(array, np.ndarray):
      lines.append(
        f"{key}: expected an array, found {type(array).__name__ if key in tree else 'none'}"
      )
      continue
    if not array.ndim or array.shape[-1] != release.widths[key]:
      lines.append(f"{key}: expected width {release.widths[key]}, found shape {array.shape}")
    if array.dtype != release.dtypes[key]:
      lines.append(f"{key} dtype: expected {release.dtypes[key]}, found {array.dtype}")
  series = tree.get("ep_tdata")
  if isinstance(series, np.ndarray):
    if series.ndim != 3 or series.shape[1] != release.length:
      lines.append(f"ep_tdata: expected {release.length} time steps, found shape {series.shape}")
    if len(series) != release.counts["all"]:
      lines.append(f"rows: expected {release.counts['all']:,}, found {len(series):,}")
  return Match(release, not lines, tuple(lines), "mimic")
