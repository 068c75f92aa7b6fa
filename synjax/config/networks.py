"""The fields of encoders and adapters that a config may set: those of the network that it names."""

import dataclasses
import re
from typing import Any

from ml_collections import ConfigDict

_FIELD = re.compile(r"model\.modalities\.([^.]+)\.(encoder|adapter)\.([^.]+)")
_READ_FIRST = {"encoder": {"name", "weights", "size"}, "adapter": {"name"}}


def is_field(field: str) -> bool:
  """Says whether a dotted field is one of an encoder or an adapter."""
  return _FIELD.fullmatch(field) is not None


def prepare(config: ConfigDict, field: str, value: Any, where: str) -> None:
  """Makes room for a field of an encoder or adapter, before it is set; other fields are left alone.

  Another name brings another network: fields of the old one that it lacks are gone, those that both have
  stay. A field that the config leaves at the network's own default can be set, too.

  Args:
    config: of a run; changed.
    field: dotted, one of the config's or not.
    value: it will have.
    where: beginning of messages.

  Raises:
    ValueError: there is no such network.
  """
  match = _FIELD.fullmatch(field)
  if match is None:
    return
  modality, part, name = match.groups()
  section = config.model.get("modalities", {}).get(modality, {}).get(part)
  if not section or value == section.get(name):
    return
  if name == "name":
    fields = _fields_of(part, value, where)
    with section.unlocked():
      for old in [old for old in section if old not in fields]:
        del section[old]
  elif name not in section and name in _fields_of(part, section.name, where):
    with section.unlocked():
      section[name] = value


def _fields_of(part: str, name: Any, where: str) -> set[str]:
  """Returns the names of the fields of an encoder or adapter."""
  from synjax.models.adapters import ADAPTERS  # jax, which who sets no such field does not wait for
  from synjax.models.encoders import ENCODERS

  known = ENCODERS if part == "encoder" else ADAPTERS
  if name not in known:
    raise ValueError(f"{where}: expected one of {', '.join(sorted(known))}, found {name!r}")
  fields = {field.name for field in dataclasses.fields(known[name]) if field.init}
  return fields - {"parent", "name", "dtype"} | _READ_FIRST[part]
