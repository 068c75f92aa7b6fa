"""Which preset of a config file a run's config is nearest to: a command that gives it again."""

import importlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

_FILES = {"spurious_xor": "xor", "pid_xor": "xor"}  # data -> config file, where names differ
_PRESETS = ("PRESETS", "MODALITIES", "_MODALITIES")  # what a file calls its own


def nearest(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
  """Returns the preset from which a config differs least, as --config takes it, and what it differs in.

  Args:
    config: of a run, nested dict of plain values.

  Returns:
    FILE:ARGUMENT, and dotted field -> the preset's value of every field that the config has otherwise;
    None where no file gives such a config: an older version's, or of data that are not there any more.
  """
  own = _flat(config)
  found = [(name, _differing(own, preset)) for name, preset in _candidates(config)]
  return min(found, key=lambda pair: len(pair[1]), default=None)


def _candidates(config: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
  """Yields the presets of a config's method on its data, flat."""
  method, data = config["method"]["name"], config["data"]["name"]
  file = _FILES.get(data, data)
  try:
    module = importlib.import_module(f"configs.{file}")
  except ModuleNotFoundError:
    return
  named = [name for attribute in _PRESETS for name in getattr(module, attribute, ())]
  arguments = [method, *(f"{method},{name}" for name in named)]
  if data == "arrays":
    arguments = [f"{method},{_shown(config['data']['data_dir'])}"]
  for argument in dict.fromkeys(arguments):
    try:
      preset = json.loads(module.get_config(argument).to_json_best_effort())
    except (ValueError, OSError, KeyError):
      continue
    yield f"configs/{file}.py:{argument}", _flat(preset)


def _shown(folder: str) -> str:
  """Returns a path from here, where that is shorter: what a command line says."""
  return min(os.path.relpath(folder), folder, key=len)


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
  found = {}
  for name, value in section.items():
    if isinstance(value, Mapping):
      found |= _flat(value, f"{prefix}{name}.")
    else:
      found[f"{prefix}{name}"] = value
  return found


def _differing(own: Mapping[str, Any], preset: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the preset's values of the fields that both have, and the config otherwise."""
  return {
    name: preset[name]
    for name, value in own.items()
    if name in preset and _plain(value) != _plain(preset[name])
  }


def _plain(value: Any) -> Any:
  """Returns a value for comparison: a path as it is on this machine, a tuple as a list."""
  if isinstance(value, str) and ("/" in value or value.startswith("~")):
    return os.path.abspath(os.path.expanduser(value))
  return list(value) if isinstance(value, tuple) else value
