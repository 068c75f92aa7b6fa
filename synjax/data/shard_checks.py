"""What a folder of shards may say before TFDS reads it: it may come from somebody else.

TFDS imports the Python module of every feature that `features.json` names, and with it runs whatever lies
there; so names are compared with those that `data_prep` writes before TFDS sees the folder.
"""

import json
import pathlib
import re
from collections.abc import Iterator, Mapping

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
_MAX_DEPTH = 32


def check_folder(folder: pathlib.Path) -> None:
  """Checks `dataset_info.json` and `features.json` of a TFDS dataset.

  Raises:
    ValueError: no such file, no JSON, a feature of a class that `data_prep` does not write, or shards
      that lie elsewhere; the message names the file and what it holds.
  """
  info = folder / "dataset_info.json"
  for split in _read(info).get("splits", ()):
    template = split.get("filepathTemplate", _TEMPLATE)
    if template != _TEMPLATE:
      raise ValueError(f"{info.name}: expected shards named {_TEMPLATE}, found {template!r}")
  features = folder / "features.json"
  for name in _classes(features, _read(features)):
    if name not in ALLOWED_CLASSES:
      known = ", ".join(sorted(known.rsplit(".")[-1] for known in ALLOWED_CLASSES))
      raise ValueError(
        f"{features.name}: expected features of TFDS ({known}), found {name!r}; nothing of it ran"
      )


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
  metadata = _read(path)
  for field, kind in {
    "source": dict,
    "converter_version": str,
    "warnings": list,
    "counts": dict,
  }.items():
    if not isinstance(metadata.get(field), kind):
      raise ValueError(
        f"{path.name}: {field}: expected a {kind.__name__}, found {_short(metadata.get(field))}"
      )
  for name, found in metadata["source"].items():
    if not isinstance(found, dict) or not _SHA256.fullmatch(str(found.get("sha256"))):
      raise ValueError(
        f"{path.name}: source: {_short(name)}: expected a sha256, found {_short(found)}"
      )
  if not all(isinstance(text, str) for text in metadata["warnings"]):
    raise ValueError(f"{path.name}: warnings: expected texts, found {_short(metadata['warnings'])}")
  if metadata["counts"] != dict(counts):
    found = _short(metadata["counts"])
    raise ValueError(
      f"{path.name}: counts: expected those of the shards, {dict(counts)}, found {found}"
    )
  return metadata


def _read(path: pathlib.Path) -> dict:
  if not path.is_file():
    raise ValueError(f"expected the file {path.name}, found none")
  try:
    content = json.loads(path.read_text())
  except (ValueError, RecursionError) as error:
    raise ValueError(f"{path.name}: expected JSON text, found {type(error).__name__}") from None
  if not isinstance(content, dict):
    raise ValueError(f"{path.name}: expected a JSON object, found {_short(content)}")
  return content


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
