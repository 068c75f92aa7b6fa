"""Fields of a config that say where something lies: its content identifies a run, the place does not."""

import copy
import fnmatch
import hashlib
import pathlib
from collections.abc import Mapping
from typing import Any

from synjax.workdir import files

# A fingerprint of the data has what they hold.
DATA = ("data.data_dir", "data.cache_dir", "data.tokenizer")
# What parameters start from: a hash has what it holds, see `training.sources`.
_SOURCES = ("initialize_from", "model.modalities.*.encoder.weights")
# Of those that hashes of configs leave out; others, which came later, are empty there.
_LEFT_OUT = ("data.data_dir", "data.cache_dir", "initialize_from")


def is_place(field: str) -> bool:
  """Says whether a dotted field is the place of anything."""
  return field in DATA or any(fnmatch.fnmatchcase(field, pattern) for pattern in _SOURCES)


def resolve(config):
  """Returns a copy of a config (`ConfigDict`) whose places are absolute, see `files.resolve`."""
  config = copy.deepcopy(config)
  _resolve(config, "")
  return config


def _resolve(section, prefix: str) -> None:
  for name, value in list(section.items()):
    if hasattr(value, "items"):
      _resolve(value, f"{prefix}{name}.")
    elif value and is_place(f"{prefix}{name}"):
      section[name] = str(files.resolve(value))


def emptied(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns a nested dict whose places are empty."""
  return {
    name: emptied(value, f"{prefix}{name}.")
    if isinstance(value, Mapping)
    else ("" if value and is_place(f"{prefix}{name}") else value)
    for name, value in config.items()
  }


def without(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  """Returns a nested dict without places, for hashes of configs."""
  return {
    name: without(value, f"{prefix}{name}.") if isinstance(value, Mapping) else value
    for name, value in (config if prefix else emptied(config)).items()
    if f"{prefix}{name}" not in _LEFT_OUT
  }


def standing_alone(
  config: Mapping[str, Any], folder: pathlib.Path, towers: Mapping[str, Any]
) -> dict[str, Any]:
  """Returns a run's config that names no folder of what the run, or an exported model, has itself.

  Args:
    config: nested dict.
    folder: workdir or exported folder, whose copy of a tokenizer reads the texts, if it keeps any.
    towers: modality -> its encoder, in which the fields that the weights decide are spelled out; of the
      towers whose parameters are among the run's.
  """
  config = copy.deepcopy(dict(config))
  data = config["data"]
  modalities = config.get("model", {}).get("modalities", {})
  weights = {name: own.get("encoder", {}).get("weights") for name, own in modalities.items()}
  texts = [name for name, encoder in towers.items() if "vocabulary" in encoder]
  if "tokenizer" in data:
    # An exported model names no other place: what is missing is missed there.
    if keeps_tokenizers(folder) or not (data["tokenizer"] or any(weights.values())):
      data["tokenizer"] = str(folder / files.TOKENIZER)
    elif texts and not data["tokenizer"]:  # "": that of the text tower's weights
      data["tokenizer"] = weights[texts[0]]
  if towers and "cache_features" in data:
    data["cache_features"] = False
  for name, encoder in towers.items():
    modalities[name]["encoder"] = dict(encoder)
  return config


def keeps_tokenizers(folder: pathlib.Path) -> bool:
  """Says whether a workdir or an exported folder has a copy of what reads texts."""
  return any((folder / files.TOKENIZER).glob("*/*"))


def keep_tokenizers(found: Mapping[str, pathlib.Path], folder: pathlib.Path) -> dict[str, str]:
  """Copies what reads texts to where `standing_alone` finds it.

  Args:
    found: modality -> file.
    folder: workdir or exported folder; it need not exist.

  Returns:
    modality -> hash of its file.

  Raises:
    OSError: a copy cannot be written.
  """
  kept = {}
  for name, file in found.items():
    content, own = file.read_bytes(), folder / files.TOKENIZER / name
    own.mkdir(parents=True, exist_ok=True)
    copy = own / file.name
    if not copy.exists() or copy.read_bytes() != content:
      with files.replacing(copy) as temporary:
        temporary.write_bytes(content)
    for other in own.iterdir():
      if other != copy:  # of a run that was given up here
        other.unlink(missing_ok=True)
    kept[name] = hashlib.sha256(content).hexdigest()
  return kept
