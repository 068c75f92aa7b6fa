"""What a run's parameters start from, known by its content: a path may hold something else tomorrow."""

import contextlib
import functools
import hashlib
import pathlib
import time
from collections.abc import Collection

from ml_collections import ConfigDict

from synjax.training import warm_start
from synjax.workdir import files

_DIGITS = 16
_SETTLED = 2 * 10**9  # ns


def hashes(config: ConfigDict, modalities: Collection[str]) -> dict[str, str]:
  """Hashes what lies where `initialize_from` and the towers' `encoder.weights` say.

  Args:
    config: the run's config.
    modalities: of its data.

  Returns:
    config field -> hex digits; without fields that name nothing, or what is gone or cannot be read: one
    that starts has read it before, and who evaluates a run takes what the run holds.
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
