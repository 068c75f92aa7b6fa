"""What a folder of shards may say before TFDS reads it: it may come from somebody else.

TFDS imports the Python module of every feature that `features.json` names, and with it runs whatever lies
there; so names are compared with those that `data_prep` writes before TFDS sees the folder.
"""

import math
import pathlib
import re
from collections.abc import Iterator, Mapping

from synjax.workdir import json_files, safe_paths

_FEATURES = "tensorflow_datasets.core.features."
ALLOWED_CLASSES = frozenset(
  _FEATURES + name
  for name in (
    "class_label_feature.ClassLabel",
    "features_dict.FeaturesDict",
    "image_feature.Image",
    "scalar.Scalar",
    "sequence_feature.Sequence",
    "tensor_feature.Tensor",
    "text_feature.Text",
  )
)
# What names a class: of the present format (in both spellings that its parser takes), and of the old one.
_CLASS_KEYS = ("pythonClassName", "python_class_name", "type")
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]")  # which a terminal would obey
_MAX_DEPTH = 32
_MAX_VALUES = 2**31  # of one array of an example
_COUNTS = ({...: int}, None)
_METADATA = {
  "source": {...: {"sha256": str}},
  "converter_version": str,
  "warnings": [str],
  "counts": {...: int},
  "fixture?": json_files.TEXT,
  "expected_counts?": _COUNTS,
  "counts_before_drop?": _COUNTS,
  "expected_counts_of?": json_files.TEXT,
}
_INFO = {"splits?": [{"name?": str, "filepathTemplate?": str, "shardLengths?": list}]}


def check_folder(folder: pathlib.Path) -> None:
  """Checks `dataset_info.json` and `features.json` of a TFDS dataset.

  Raises:
    ValueError: no such file, no JSON, a feature of a class that `data_prep` does not write or of an
      impossible size, shards that lie elsewhere, or anything in the folder that is a link out of it or no
      regular file; the message names the file and what it holds.
  """
  safe_paths.require_inside(folder, ".")
  info = folder / "dataset_info.json"
  for split in _read(info, _INFO).get("splits", ()):
    template = split.get("filepathTemplate", _TEMPLATE)
    if template != _TEMPLATE:
      raise ValueError(f"{info.name}: expected shards named {_TEMPLATE}, found {template!r}")
  features = folder / "features.json"
  tree = _read(features, {})
  for name in _classes(features, tree):
    if name not in ALLOWED_CLASSES:
      known = ", ".join(sorted(known.rsplit(".")[-1] for known in ALLOWED_CLASSES))
      raise ValueError(
        f"{features.name}: expected features of TFDS ({known}), found {name!r}; nothing of it ran"
      )
  _check_dimensions(features, tree)


def read_metadata(folder: pathlib.Path, counts: Mapping[str, int]) -> Mapping:
  """Reads `metadata.json` and checks what readers rely on.

  Args:
    folder: of the dataset.
    counts: split -> examples, as TFDS says.

  Returns:
    What the converter recorded.

  Raises:
    ValueError: a field is missing, of another type, or contradicts the shards.
  """
  path = folder / "metadata.json"
  metadata = _read(path, _METADATA)
  if not metadata["source"]:
    raise ValueError(f"{path.name}: source: expected the files that were converted, found none")
  for name, found in metadata["source"].items():
    if not _SHA256.fullmatch(found["sha256"]):
      raise ValueError(
        f"{path.name}: source: {_short(name)}: expected a sha256, found {_short(found)}"
      )
  for field in ("warnings", "fixture", "converter_version"):
    if _CONTROL.search(_joined(metadata.get(field))):
      found = _short(metadata[field])
      raise ValueError(f"{path.name}: {field}: expected no control characters, found {found}")
  if metadata["counts"] != dict(counts):
    found = _short(metadata["counts"])
    raise ValueError(
      f"{path.name}: counts: expected those of the shards, {dict(counts)}, found {found}"
    )
  return metadata


def _joined(texts: object) -> str:
  return " ".join(texts) if isinstance(texts, list) else str(texts)


def _read(path: pathlib.Path, schema: object) -> dict:
  if not path.is_file():
    raise ValueError(f"expected the file {path.name}, found none")
  try:
    content = json_files.parse(path.read_text(encoding="utf-8"))
  except ValueError as error:
    raise ValueError(f"{path.name}: expected JSON text, found {error}") from None
  if not isinstance(content, dict):
    raise ValueError(f"{path.name}: expected a JSON object, found {_short(content)}")
  wrong = json_files.mismatch(content, schema)
  if wrong:
    raise ValueError(f"{path.name}: {wrong}")
  return content


def _check_dimensions(path: pathlib.Path, tree: object) -> None:
  """Refuses arrays that no example can hold, for which TFDS would ask memory; `tree` is shallow."""
  if isinstance(tree, dict):
    dimensions = tree.get("dimensions")
    if isinstance(dimensions, list):
      sizes = [str(size) for size in dimensions]
      good = all(re.fullmatch(r"-1|\d{1,18}", size) for size in sizes)
      if not good or math.prod(max(1, int(size)) for size in sizes) > _MAX_VALUES:
        raise ValueError(
          f"{path.name}: dimensions: expected at most 2^31 values in an array, found {_short(dimensions)}"
        )
  for part in tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ():
    _check_dimensions(path, part)


def _classes(path: pathlib.Path, tree: object, depth: int = 0) -> Iterator[str]:
  """Yields every name of a class in a tree of features, wherever it stands."""
  if depth > _MAX_DEPTH:
    raise ValueError(f"{path.name}: expected features nested at most {_MAX_DEPTH} deep, found more")
  if isinstance(tree, list):
    for part in tree:
      yield from _classes(path, part, depth + 1)
  elif isinstance(tree, dict):
    for key, part in tree.items():
      # A feature of the dataset may itself be called "type": it is a dict, then.
      if key in _CLASS_KEYS and not isinstance(part, dict):
        yield str(part)
      elif key in ("jsonFeature", "json_feature"):
        raise ValueError(f"{path.name}: expected features of TFDS, found one of JSON text")
      else:
        yield from _classes(path, part, depth + 1)


def _short(value: object) -> str:
  return ascii(value)[:80]
