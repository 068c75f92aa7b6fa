"""What fields of a config are where they are None: as `config.protocol` says."""

from collections.abc import Mapping
from typing import Any

_BY_PROTOCOL = {
  # The published validation probe searches like that of the test (docs/spec/infmasking.md 9).
  "probe.validation_search": {"paper": "fine", "clean": "coarse"},
  # Mean and std of all rows, the test rows among them (docs/spec/infmasking.md 7.2), or of the
  # training rows.
  "data.statistics": {"paper": "zscore_all", "clean": "zscore_train"},
}


def read(config: Mapping[str, Any], field: str) -> Any:
  """Returns a field of a config, or what its protocol says where the field is None."""
  section, name = field.split(".")
  value = config[section][name]
  return _BY_PROTOCOL[field].get(config.get("protocol")) if value is None else value


def resolve(config: Mapping[str, Any]) -> dict[str, Any]:
  """Returns a config, nested dict, in which no field that it has is None because of its protocol."""
  resolved = {**config}
  for field in _BY_PROTOCOL:
    section, name = field.split(".")
    if name in (resolved.get(section) or {}):
      resolved[section] = {**resolved[section], name: read(config, field)}
  return resolved
