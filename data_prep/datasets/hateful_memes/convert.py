"""Hateful Memes to TFDS: pictures, their captions and labels, one split for each published list.

The source is the folder of `train.jsonl`, `dev.jsonl` or `dev_seen.jsonl`, `dev_unseen.jsonl`,
`test.jsonl` or `test_seen.jsonl`, `test_unseen.jsonl`, and `img/`. Which of them exist differs from copy
to copy, and many copies lack pictures: rows without a usable one are left out, and counted.
"""

import collections
import dataclasses
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from data_prep.read import images, sniff, source_files
from data_prep.write import shards

# Split -> names its list goes by; of two, the later one published has the labels.
FILES = {
  "train": ("train.jsonl",),
  "dev_seen": ("dev_seen.jsonl", "dev.jsonl"),
  "dev_unseen": ("dev_unseen.jsonl",),
  "test_seen": ("test_seen.jsonl", "test.jsonl"),
  "test_unseen": ("test_unseen.jsonl",),
}
EXPECTED_COUNTS = {
  "train": 8500,
  "dev_seen": 500,
  "dev_unseen": 540,
  "test_seen": 1000,
  "test_unseen": 2000,
}
NO_LABEL = -1
OPTIONS = {}
_EXPECTED_HATEFUL = {"train": 0.36, "dev_seen": 0.50}  # shares observed by others
_HATEFUL_TOLERANCE = 0.03
_NEED_LABELS = ("train", "dev_seen", "dev_unseen")
_KNOWN_OVERLAP = "dev_seen and dev_unseen"  # the second was published as a revision of the first
_MAX_NAMED = 20
_CITATION = "Kiela et al., The Hateful Memes Challenge, NeurIPS 2020"


@dataclasses.dataclass(frozen=True)
class Row:
  """One line of a list.

  Attributes:
    line: of the file, from 1.
    source_index: row, from 0, not counting blank lines.
    id: of the picture.
    img_path: of the picture, relative to the source.
    text: the caption.
    label: 0, 1 (hateful) or `NO_LABEL`.
  """

  line: int
  source_index: int
  id: int
  img_path: str
  text: str
  label: int


def plan(dataset: str, source: pathlib.Path) -> Iterator[shards.Plan]:
  """Plans the dataset `hateful_memes/default`, with the splits whose list exists.

  Every picture is decoded here, one at a time; writing reads them again.

  Args:
    dataset: "hateful_memes".
    source: the folder of the lists and `img/`, or one of the lists.

  Yields:
    One `shards.Plan`.

  Raises:
    ConversionError: no list, or two for one split that differ; a line is no JSON object of that
      form; an id has two labels; pictures are git-LFS pointers, or none of a split is there; a picture
      changed before it was written.

  Source: docs/spec/data.md 1, 7. The published loader takes dev for validation and test, and fails
  on rows without a label; here these have label -1 and has_label false.
  """
  source = pathlib.Path(source)
  root = source.parent if source.is_file() else source
  files = _find_files(root, source)
  rows = {split: read_rows(path) for split, path in files.items()}
  names = sorted({row.img_path for split in rows.values() for row in split})
  checked = images.check_images([root / name for name in names], title="hateful_memes: pictures")
  pictures = dict(zip(names, checked, strict=True))
  kept = {
    split: [row for row in all_rows if pictures[row.img_path].valid]
    for split, all_rows in rows.items()
  }
  warnings = [
    warning for split, path in files.items() for warning in _check_rows(path, split, rows[split])
  ]
  warnings += _check_shared(rows) + _check_pictures(files, rows, kept, pictures)
  yield shards.Plan(
    name="hateful_memes",
    config="default",
    features=_make_features(),
    splits={split: _Memes(kept_rows, pictures) for split, kept_rows in kept.items()},
    counts={split: len(kept_rows) for split, kept_rows in kept.items()},
    metadata=_describe(dataset, files, rows, kept, pictures, warnings),
    nbytes=_estimate_bytes(kept, pictures),
    citation=_CITATION,
    description="Pictures with captions, hateful (label 1) or not, of the Hateful Memes challenge.",
  )


def read_rows(path: pathlib.Path) -> list[Row]:
  """Reads a list: one JSON object per line; blank lines, a BOM and Windows newlines are no trouble.

  Args:
    path: of a `.jsonl` file.

  Returns:
    Its rows, in order.

  Raises:
    ConversionError: naming the line that is not of the published form.

  Source: docs/spec/data.md 7.
  """
  rows = []
  # Bytes, as text has further line ends (U+2028) that may stand inside a caption.
  lines = source_files.read_bytes(path).removeprefix(b"\xef\xbb\xbf").split(b"\n")
  for line, content in enumerate(lines, 1):
    if content.strip():
      rows.append(_parse_row(content, path, line, len(rows)))
  if not rows:
    raise source_files.ConversionError(
      f"{path}: expected one JSON object per line, found no line. {sniff.identify(path).advice}"
    )
  return rows


@dataclasses.dataclass(frozen=True)
class _Memes:
  """Makes the examples of one split, each when it is asked for."""

  rows: Sequence[Row]
  pictures: Mapping[str, images.ImageBytes]

  def __call__(self) -> Iterator[dict[str, object]]:
    for row in self.rows:
      picture = images.reread(self.pictures[row.img_path])
      yield {
        "image": io.BytesIO(picture.data),
        "text": row.text,
        "label": row.label,
        "has_label": row.label != NO_LABEL,
        "id": row.id,
        "img_path": row.img_path,
        "source_index": row.source_index,
      }


def _make_features() -> dict[str, object]:
  return {
    "image": shards.image("png"),
    "text": shards.text(),
    "label": shards.scalar(np.int64),
    "has_label": shards.scalar(np.bool_),
    "id": shards.scalar(np.int64),
    "img_path": shards.text(),
    "source_index": shards.scalar(np.int64),
  }


def _find_files(root: pathlib.Path, source: pathlib.Path) -> dict[str, pathlib.Path]:
  """The list of each split that has one."""
  known = [name for names in FILES.values() for name in names]
  if source.is_file() and source.name not in known:
    kind = sniff.identify(source)
    raise source_files.ConversionError(
      f"{source}: expected the folder of train.jsonl and img/, found {kind.description}. {kind.advice}"
    )
  found = {
    split: [root / name for name in names if (root / name).is_file()]
    for split, names in FILES.items()
  }
  files = {split: paths[0] for split, paths in found.items() if paths}
  if not files:
    there = sorted(path.name for path in root.iterdir())[:9] if root.is_dir() else "nothing there"
    raise source_files.ConversionError(
      f"{root}: expected one of {known} of Hateful Memes, found {there}. Pass the folder that holds "
      "them and img/."
    )
  if not (root / "img").is_dir():
    raise source_files.ConversionError(
      f"{root}: expected the folder img/ beside {files[next(iter(files))].name}, found none. Unpack the "
      "pictures there (img.tar.gz or the zip)."
    )
  lists = [path.name for paths in found.values() for path in paths]
  source_files.require_inside(root, *lists, "img")
  for split, paths in found.items():
    if len(paths) == 2:
      first, second = ({row.id for row in read_rows(path)} for path in paths)
      if first != second:
        raise source_files.ConversionError(
          f"{paths[1]}: expected the ids of {paths[0].name}, as both are the split {split}, found "
          f"{len(first ^ second):,} that only one of them has. Move the list you do not want elsewhere."
        )
  return files


def _parse_row(content: bytes, path: pathlib.Path, line: int, source_index: int) -> Row:
  def refuse(expected, found):
    raise source_files.ConversionError(
      f"{path}: line {line}: expected {expected}, found {found}. Get this list again from the source."
    )

  try:
    row = source_files.parse_json(content.decode())
  except ValueError as error:
    kind = sniff.identify(path)
    if kind.name in ("lfs_pointer", "html"):
      raise source_files.ConversionError(
        f"{path}: expected one JSON object per line, found {kind.description}. {kind.advice}"
      ) from None
    refuse("JSON text", f"{error}: {ascii(content[:60].decode('latin1'))}")
  if not isinstance(row, dict):
    refuse("an object with id, img and text", f"{type(row).__name__} {ascii(row)[:60]}")
  if missing := {"id", "img", "text"} - set(row):
    refuse("the keys id, img and text", f"no {sorted(missing)} in {sorted(row)}")
  number = row["id"]
  if isinstance(number, str) and number.isascii() and number.isdigit():
    number = int(number)
  if type(number) is not int or not 0 <= number < 2**63:
    refuse("an id such as 1235 or '01235'", ascii(row["id"])[:60])
  parts = pathlib.PurePosixPath(row["img"]).parts if isinstance(row["img"], str) else ()
  if len(parts) < 2 or parts[0] != "img" or ".." in parts or not row["img"].isprintable():
    refuse("an img path such as 'img/01235.png'", ascii(row["img"])[:60])
  if not isinstance(row["text"], str):
    refuse("a text", ascii(row["text"])[:60])
  label = row.get("label")
  if label is not None and (type(label) is not int or label not in (0, 1)):
    refuse("label 0 or 1", ascii(label)[:60])
  # TFDS stores UTF-8: half of a surrogate pair, which JSON can spell, becomes "?".
  text = row["text"].encode("utf-8", "replace").decode()
  return Row(line, source_index, number, row["img"], text, NO_LABEL if label is None else label)


def _check_rows(path: pathlib.Path, split: str, rows: Sequence[Row]) -> list[str]:
  """Doubts about the number of rows of a list, its labels and ids."""
  warnings, name, expected = [], path.name, EXPECTED_COUNTS[split]
  if len(rows) != expected:
    warnings.append(f"count: {split}: expected {expected:,} rows in {name}, found {len(rows):,}")
  unlabelled = [row.line for row in rows if row.label == NO_LABEL]
  if unlabelled and (split in _NEED_LABELS or len(unlabelled) < len(rows)):
    warnings.append(
      f"label: {split}: expected a label in every row of {name}, found {len(unlabelled):,} without "
      f"(lines {unlabelled[:_MAX_NAMED]})"
    )
  hateful = sum(row.label == 1 for row in rows) / max(1, len(rows) - len(unlabelled))
  share = _EXPECTED_HATEFUL.get(split, hateful)
  if len(rows) == expected and abs(hateful - share) > _HATEFUL_TOLERANCE:
    warnings.append(f"prior: {split}: expected about {share:.0%} hateful, found {hateful:.1%}")
  other = [r.line for r in rows if pathlib.PurePosixPath(r.img_path).stem != f"{r.id:05d}"]
  if other:
    warnings.append(
      f"id: {split}: expected img/ID.png in every row of {name}, found {len(other):,} with another "
      f"name (lines {other[:_MAX_NAMED]})"
    )
  return warnings + _check_repeats(path, split, rows)


def _count_shared(rows: Mapping[str, Sequence[Row]]) -> dict[str, int]:
  """Counts the ids that several splits have: "dev_seen and train" -> ids."""
  homes = collections.defaultdict(set)
  for split, found in rows.items():
    for row in found:
      homes[row.id].add(split)
  return dict(
    collections.Counter(" and ".join(sorted(where)) for where in homes.values() if len(where) > 1)
  )


def _check_shared(rows: Mapping[str, Sequence[Row]]) -> list[str]:
  return [
    f"leak: expected every id in one split, found {count:,} in {where}"
    for where, count in _count_shared(rows).items()
    if where != _KNOWN_OVERLAP
  ]


def _check_repeats(path: pathlib.Path, split: str, rows: Sequence[Row]) -> list[str]:
  first, repeated = {}, []
  for row in rows:
    other = first.setdefault(row.id, row)
    if other.label != row.label:
      raise source_files.ConversionError(
        f"{path}: line {row.line}: expected id {row.id} once, found it in line {other.line} with label "
        f"{other.label} and here with {row.label}. Remove the wrong line."
      )
    if other is not row:
      repeated.append(row.line)
  if not repeated:
    return []
  return [
    f"repeated: {split}: {len(repeated):,} rows of {path.name} repeat an id, and are kept (lines "
    f"{repeated[:_MAX_NAMED]})"
  ]


def _check_pictures(files, rows, kept, pictures) -> list[str]:
  """Says how many rows each split loses; refuses one that loses all."""
  warnings = []
  for split, found in rows.items():
    problems = images.group_problems({row.img_path: pictures[row.img_path] for row in found})
    if not kept[split]:
      raise source_files.ConversionError(
        f"{files[split].parent / found[0].img_path}: expected the pictures of {files[split].name}, found "
        f"none of {len(found):,} ({images.list_problems(problems)}). Unpack img/ beside the lists, or "
        f"move {files[split].name} elsewhere to convert without it."
      )
    if problems:
      warnings.append(
        f"image: {split}: {len(found) - len(kept[split]):,} of {len(found):,} rows are left out for want "
        f"of a picture ({images.list_problems(problems)})"
      )
  return warnings


def _describe(dataset: str, files, rows, kept, pictures, warnings: list[str]) -> dict:
  used = [row for split in kept.values() for row in split]
  digests = collections.Counter(pictures[name].source_sha256 for name in {r.img_path for r in used})
  texts = collections.Counter(row.text for row in used)
  labels = {
    split: {str(label): sum(row.label == label for row in part) for label in (0, 1, NO_LABEL)}
    for split, part in kept.items()
  }
  present = {name: picture for name, picture in pictures.items() if picture.problem != "missing"}
  source = {
    path.name: {"size": path.stat().st_size, "sha256": source_files.sha256(path)}
    for path in files.values()
  }
  source["img/*"] = images.combine_digests(
    (name, picture.source_size, picture.source_sha256) for name, picture in present.items()
  )
  return shards.describe(
    dataset,
    source=source,
    counts_before_drop={split: len(part) for split, part in rows.items()},
    counts={split: len(part) for split, part in kept.items()},
    drop_reason="memes without a picture that can be read",
    expected_counts={split: EXPECTED_COUNTS[split] for split in rows},
    labels=labels,
    warnings=warnings,
    hateful_share={
      split: round(part["1"] / (part["0"] + part["1"]), 4)
      for split, part in labels.items()
      if part["0"] + part["1"]
    },
    # Benign confounders share a picture or a caption: many are expected.
    repeated_pictures=sum(count - 1 for count in digests.values()),
    repeated_texts=sum(count - 1 for count in texts.values()),
    shared_ids=_count_shared(rows),
    images=images.summarise(pictures),
  )


def _estimate_bytes(kept, pictures) -> int:
  rows = [row for split in kept.values() for row in split]
  return sum(
    images.estimate_bytes({0: pictures[row.img_path]}) + len(row.text) + 300 for row in rows
  )
