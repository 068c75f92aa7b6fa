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


def standing_alone(config: Mapping[str, Any], towers: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a run's config that needs no folder of tower weights, whose parameters it has taken over.

  Args:
    config: nested dict.
    towers: modality -> its encoder, in which the fields that the weights decide are spelled out.
  """
  config = copy.deepcopy(dict(config))
  data, modalities = config["data"], config["model"]["modalities"]
  for name, encoder in towers.items():
    if not data.get("tokenizer", True):  # "": that of the text tower's weights
      folder = modalities[name]["encoder"]["weights"]
      data["tokenizer"] = folder if "vocabulary" in encoder else ""
    modalities[name]["encoder"] = dict(encoder)
  return config


def with_kept_tokenizer(config: Mapping[str, Any], folder: pathlib.Path) -> dict[str, Any]:
  """Returns a config whose texts are read by the tokenizer of which a folder keeps a copy, if it does.

  Args:
    config: nested dict, of the run of a workdir or of an exported model.
    folder: that workdir, or the exported folder.
  """
  config = copy.deepcopy(dict(config))
  kept, data = folder / files.TOKENIZER, config["data"]
  modalities = config.get("model", {}).get("modalities", {})
  towers = [own["encoder"].get("weights") for own in modalities.values() if "encoder" in own]
  # An exported model names no other place: what is missing is missed there.
  if "tokenizer" in data and (any(kept.glob("*/*")) or not (data["tokenizer"] or any(towers))):
    data["tokenizer"] = str(kept)
  return config


def keep_tokenizers(found: Mapping[str, pathlib.Path], folder: pathlib.Path) -> dict[str, str]:
  """Copies what reads texts to where `with_kept_tokenizer` finds it.

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
