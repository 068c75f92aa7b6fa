"""What a run's parameters start from, known by its content: a path may hold something else tomorrow."""

import contextlib
import functools
import hashlib
import pathlib
import time
from collections.abc import Collection, Mapping
from typing import Any

from ml_collections import ConfigDict

from synjax.training import warm_start
from synjax.workdir import files, identity, schema

_DIGITS = 16
_SETTLED = 2 * 10**9  # ns


def hashes(config: ConfigDict, modalities: Collection[str]) -> dict[str, str]:
  """Hashes what lies where `initialize_from` and the towers' `encoder.weights` say.

  Args:
    config: the run's config.
    modalities: of its data.

  Returns:
    config field -> hex digits; without fields that name nothing, or what is gone or cannot be read: one
    that starts has read it before, and a trained run takes what it holds itself.
  """
  found = {}
  if config.initialize_from:
    with contextlib.suppress(OSError, ValueError):
      found[warm_start.FIELD] = warm_start.hash_source(config.initialize_from)
  for field, folder in towers(config, modalities).items():
    if digest := hash_weights(folder):
      found[f"config.{field}"] = digest
  return found


def towers(config: ConfigDict, modalities: Collection[str]) -> dict[str, str]:
  """Returns field -> folder of the towers whose weights a config names."""
  encoders = {name: config.model.modalities[name].encoder for name in modalities}
  return {
    f"model.modalities.{name}.encoder.weights": encoder.weights
    for name, encoder in encoders.items()
    if encoder.get("weights")
  }


def kept_towers(path: pathlib.Path, config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the towers of a trained run that are to be built without the folders they started from.

  Args:
    path: its workdir.
    config: its config, nested dict.

  Returns:
    modality -> encoder, spelled out; of all towers with weights, where the folder of any is gone or is no
    longer what the run started from. Empty otherwise.

  Raises:
    ValueError: the workdir does not say what its model takes, see `schema.read`.
  """
  started_from = identity.read_run(path).get("sources") or {}
  folders = {
    f"config.model.modalities.{name}.encoder.weights": own.get("encoder", {}).get("weights")
    for name, own in config["model"]["modalities"].items()
  }
  # A folder that only the config of an older run names is taken for what it was.
  if all(
    files.resolve(folder).is_dir() and started_from.get(field) in (None, hash_weights(folder))
    for field, folder in folders.items()
    if folder
  ):
    return {}
  return schema.read(path).get("towers", {})


def hash_weights(folder: str) -> str:
  """Returns hex digits of what is read of a tower, `config.json` and tensors; "": it is no such folder.

  Its tokenizer is part of the data, whose fingerprint has it.
  """
  from synjax.models import pretrained  # needs safetensors, which runs without weights do not

  digest = hashlib.sha256()
  try:
    for file in pretrained.files(files.resolve(folder)):
      digest.update(f"{file.name} ".encode() + _digest(file))
  except (OSError, ValueError):
    return ""
  return digest.hexdigest()[:_DIGITS]


def _digest(file: pathlib.Path) -> bytes:
  """Hashes a file, once in a process: rows of a sweep read the same gigabytes."""
  found = file.stat()
  identified = (str(file), found.st_size, found.st_mtime_ns)
  if time.time_ns() - found.st_mtime_ns < _SETTLED:  # it may be written again within a clock's tick
    return _read(*identified)
  return _read_once(*identified)


def _read(file: str, *_) -> bytes:
  with open(file, "rb") as opened:
    return hashlib.file_digest(opened, "sha256").digest()


_read_once = functools.cache(_read)
