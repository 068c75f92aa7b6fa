"""What the affect converter records about a source, and where it doubts it."""

import collections
import dataclasses
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.read import contents, releases, source_files
from data_prep.write import shards

SPLITS = dict(zip(releases.SPLITS, shards.SPLITS, strict=True))
CLIP = 1e6  # SynIB's threshold for outliers of vision
_NONFINITE = ("nan", "posinf", "neginf", "overflow")
# Rows with a negative, zero and positive score; MOSEI's are of a slightly larger edition
# (docs/spec/data.md 3.2), so only its proportions are compared.
_SIGNS = {
  "mosi": {"train": (552, 53, 679), "valid": (92, 13, 124), "test": (379, 30, 277)},
  "mosei": {"train": (4738, 3540, 8048), "valid": (506, 433, 932), "test": (1350, 1025, 2284)},
}
_PROPORTION_TOLERANCE = 0.01
_MUSTARD_POSITIVE = 345
_URFUNNY_POSITIVE = (0.45, 0.55)  # share in each split: "about balanced"


@dataclasses.dataclass
class Part:
  """One split of the source.

  Attributes:
    vision: by row, [steps, width].
    audio: likewise.
    text: likewise.
    labels: [rows], as stored.
    ids: columns of each row as text.
  """

  vision: Sequence[np.ndarray]
  audio: Sequence[np.ndarray]
  text: Sequence[np.ndarray]
  labels: np.ndarray
  ids: list[list[str]]


@dataclasses.dataclass
class Survey:
  """What the preprocessing makes of one split.

  Attributes:
    kept: rows with text.
    starts: first time step with text of each of them.
    facts: counts for the metadata.
    num_steps: time steps to write, of all rows.
    cleaned: modality -> values that the clean policy changes; empty under parity.
  """

  kept: list[int]
  starts: list[int]
  facts: dict[str, object]
  num_steps: int
  cleaned: dict[str, dict[str, int]]


def describe(
  path: pathlib.Path,
  release: releases.Release,
  report: Mapping,
  keys: Mapping[str, str],
  parts: Mapping[str, Part],
  surveys: Mapping[str, Survey],
) -> dict[str, object]:
  """Returns the metadata; its warnings say where the file differs from the published one.

  Args:
    path: of the source.
    release: it is taken for.
    report: of `contents.describe_tree`.
    keys: split -> key in the file.
    parts: split -> content.
    surveys: split -> what is made of it.

  Source: docs/spec/data.md 3.2, 3.5, 3.8 (lists under "Metadata/sanity to record").
  """
  size, digest = path.stat().st_size, source_files.sha256(path)
  nonfinite = _collect_nonfinite(report, keys)
  repeated, shared = _count_repeated_ids(parts, surveys)
  before = {split: contents.describe_labels(part.labels) for split, part in parts.items()}
  rows = {split: len(part.labels) for split, part in parts.items()}
  kept = {split: len(survey.kept) for split, survey in surveys.items()}
  warnings = _warn_file(release, report, size, digest) + _warn_counts(release, rows, kept)
  warnings += _warn_labels(release, parts, before)
  warnings += _warn_values(nonfinite, surveys) + _warn_shared_ids(shared)
  labels = {s: contents.describe_labels(parts[s].labels[v.kept]) for s, v in surveys.items()}
  return shards.describe(
    release.name,
    source={path.name: {"size": size, "sha256": digest}},
    counts_before_drop=_rename(rows),
    counts=_rename(kept),
    expected_counts=_rename(release.counts or release.counts_kept),
    labels=_rename(labels),
    warnings=warnings,
    expected_counts_of="rows" if release.counts else "rows with text",
    labels_before_drop=_rename(before),
    drop_reason="their text sums to 0, as of a segment without words; dropped as published",
    facts=_rename({split: survey.facts for split, survey in surveys.items()}),
    nonfinite_in_source=_rename(nonfinite),
    cleaned=_rename({split: survey.cleaned for split, survey in surveys.items()}),
    repeated_ids={"within_splits": _rename(repeated), "across_splits": shared},
    ignored_keys=_rename({split: _list_ignored(report, key) for split, key in keys.items()}),
    release=report["release"],
    schema=report["schema"],
  )


def _rename(values: Mapping) -> dict:
  return {SPLITS[split]: value for split, value in values.items()}


def _entries(report: Mapping, key: str) -> Mapping:
  return report["schema"]["entries"][key]["entries"]


def _list_ignored(report: Mapping, key: str) -> list[str]:
  known = (*releases.MODALITIES, "labels", "label", "id")
  return [name for name in _entries(report, key) if name not in known]


def _collect_nonfinite(report: Mapping, keys: Mapping[str, str]) -> dict:
  """Split -> modality -> counts and absmax of the finite values, before the drop."""
  found = {}
  for split, key in keys.items():
    found[split] = {}
    for name in releases.MODALITIES:
      node = _entries(report, key)[name]
      ends = [abs(node[end]) for end in ("min", "max") if node.get(end) is not None]
      counts = {kind: node.get(kind, 0) for kind in _NONFINITE}
      found[split][name] = counts | {"absmax": max(ends, default=None)}
  return found


def _count_repeated_ids(parts: Mapping[str, Part], surveys: Mapping[str, Survey]):
  """Returns split -> repetitions within it, and the number of ids that several splits have."""
  seen = {
    split: collections.Counter(tuple(parts[split].ids[row]) for row in survey.kept)
    for split, survey in surveys.items()
  }
  within = {split: sum(ids.values()) - len(ids) for split, ids in seen.items()}
  shared = collections.Counter(name for ids in seen.values() for name in ids)
  return within, sum(count > 1 for count in shared.values())


def _warn_shared_ids(shared: int) -> list[str]:
  return [f"id: {shared:,} segment ids occur in more than one split"] if shared else []


def _warn_file(release: releases.Release, report: Mapping, size: int, digest: str) -> list[str]:
  warnings = []
  if release.sha256 and release.sha256 != digest:
    warnings.append(
      f"checksum: expected {release.sha256} ({release.size:,} bytes), found {digest} ({size:,} bytes): "
      "not the published file, or another edition of it"
    )
  found = report["release"]
  if found["name"] is None:
    warnings.append("release: no published file has this layout")
  elif found["name"] != release.name:
    warnings.append(f"release: expected {release.name}, found a layout nearer to {found['name']}")
  else:
    warnings += [f"release: {line}" for line in found["differences"] if "rows" not in line]
  return warnings


def _warn_counts(release: releases.Release, rows: Mapping, kept: Mapping) -> list[str]:
  expected, found = release.counts, rows
  what = "rows"
  if expected is None:
    expected, found, what = release.counts_kept, kept, "rows with text"
  return [
    f"count: {SPLITS[split]}: expected {expected[split]:,} {what}, found {found[split]:,}"
    for split in found
    if found[split] != expected[split]
  ]


def _warn_labels(
  release: releases.Release, parts: Mapping[str, Part], before: Mapping[str, Mapping]
) -> list[str]:
  warnings = []
  scores = release.dataset in _SIGNS
  for split, part in parts.items():
    where, found = f"label: {SPLITS[split]}", part.labels[~np.isnan(part.labels.astype(float))]
    if len(found) < len(part.labels):
      warnings.append(f"{where}: {len(part.labels) - len(found):,} are NaN and count as negative")
    values = set(np.unique(found).tolist())
    if scores and len(found) and max(abs(found.min()), abs(found.max())) > 3:
      warnings.append(
        f"{where}: expected scores in [-3, 3], found {found.min():g} to {found.max():g}"
      )
    elif not scores and not (values <= {0, 1} or values <= {-1, 1}):
      shown = ", ".join(f"{value:g}" for value in sorted(values)[:5])
      warnings.append(f"{where}: expected 0 and 1, or -1 and 1, found {shown}")
  return warnings + _warn_proportions(release, before)


def _warn_proportions(release: releases.Release, before: Mapping[str, Mapping]) -> list[str]:
  """Compares the labels of all rows with the numbers quoted for the dataset."""
  if release.dataset == "mustard":
    found = sum(labels["positive"] for labels in before.values())
    if found != _MUSTARD_POSITIVE:
      return [f"label: expected {_MUSTARD_POSITIVE} positive in all splits, found {found:,}"]
    return []
  warnings = []
  for split, labels in before.items():
    found = tuple(labels[sign] for sign in ("negative", "zero", "positive"))
    where, total = f"label: {SPLITS[split]}", max(1, sum(found))
    if release.dataset == "urfunny":
      low, high = _URFUNNY_POSITIVE
      if not low <= found[2] / total <= high:
        warnings.append(
          f"{where}: expected about half of the rows positive, found {found[2]:,} of {total:,}"
        )
      continue
    expected = _SIGNS[release.dataset][split]
    shares = np.array(found) / total - np.array(expected) / sum(expected)
    exact = release.name == "mosi"
    if found != expected if exact else np.abs(shares).max() > _PROPORTION_TOLERANCE:
      show = "/".join(f"{count:,}" for count in expected)
      warnings.append(
        f"{where}: expected {show} negative/zero/positive{'' if exact else ' in proportion'}, found "
        f"{'/'.join(f'{count:,}' for count in found)}"
      )
  return warnings


def _warn_values(nonfinite: Mapping, surveys: Mapping[str, Survey]) -> list[str]:
  warnings = []
  for split, survey in surveys.items():
    where, facts = SPLITS[split], survey.facts
    for name, counts in nonfinite[split].items():
      kinds = [kind for kind in _NONFINITE if not (name == "audio" and kind == "neginf")]
      found = ", ".join(f"{counts[kind]:,} {kind}" for kind in kinds if counts[kind])
      if found and not survey.cleaned:
        warnings.append(
          f"nonfinite: {where}: {name} has {found} and keeps them, as published; --nonfinite=clean "
          "removes them"
        )
    for name, changed in survey.cleaned.items():
      if any(changed.values()):
        warnings.append(
          f"nonfinite: {where}: {name}: {changed['zeroed']:,} values become 0, {changed['clipped']:,} "
          f"are clipped to +-{CLIP:g}"
        )
    if facts["rows_nonzero_before_start"]:
      warnings.append(
        f"alignment: {where}: {facts['rows_nonzero_before_start']:,} rows have vision or audio before "
        "the first word, which only --full keeps"
      )
    if facts["dropped_rows_with_content"]:
      warnings.append(
        f"drop: {where}: {facts['dropped_rows_with_content']:,} rows have text that sums to 0 and are "
        "dropped, as published"
      )
  return warnings
