"""What a run's parameters start from, known by its content: a path may hold something else tomorrow."""

import contextlib
import hashlib
import pathlib
from collections.abc import Collection

from ml_collections import ConfigDict

from synjax.training import warm_start
from synjax.workdir import files

_DIGITS = 16


def hashes(config: ConfigDict, modalities: Collection[str]) -> dict[str, str]:
  """Hashes what lies where `initialize_from` and the towers' `encoder.weights` say.

  Args:
    config: the run's config.
    modalities: of its data.

  Returns:
    config field -> hex digits; without fields that name nothing, or what is gone or cannot be read: a
    run that has started needs it no more, and one that starts has read it before.
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
  """Returns hex digits of a tower's files, its tokenizer's too; "": there are none."""
  digest, path = hashlib.sha256(), files.resolve(folder)
  known = sorted(file for kind in ("json", "safetensors") for file in path.rglob(f"*.{kind}"))
  try:
    for file in known:
      digest.update(f"{file.relative_to(path)} {file.stat().st_size} ".encode() + _digest(file))
  except OSError:
    return ""
  return digest.hexdigest()[:_DIGITS] if known else ""


def _digest(file: pathlib.Path) -> bytes:
  with file.open("rb") as opened:
    return hashlib.file_digest(opened, "sha256").digest()
