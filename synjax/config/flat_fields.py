"""The fields of a config by their dotted names."""

from typing import Any

from ml_collections import ConfigDict


def flat(section: ConfigDict, prefix: str = "") -> dict[str, Any]:
  """Returns dotted name -> value of every field of a config."""
  found = {}
  for name, value in section.items():
    if isinstance(value, ConfigDict):
      found |= flat(value, f"{prefix}{name}.")
    else:
      found[f"{prefix}{name}"] = value
  return found
