"""The flag --config, and the fields of a config that are set or unset on the command line."""

import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from synjax import durations, sweep_file

flags.disclaim_key_flags()  # they belong to the command that asks for them
_FIELD = re.compile(r"--?(no)?config\.(?P<field>[^=]+)(=(?P<value>.*))?", re.DOTALL)


def _unset_field(argument: str) -> str | None:
  """Returns the field that an argument unsets; None: it does something else.

  Only a duration is unset by "none" and by nothing: texts may have these as values.
  """
  match = _FIELD.fullmatch(argument)
  if match is None:
    return None
  spellings = ("None", "none", "") if durations.twin(match["field"]) else ("None",)
  return match["field"] if match["value"] in spellings else None


def _unset_fields(arguments: Sequence[str]) -> list[str]:
  """Returns the fields that are unset and not set again by a later argument."""
  last = {m["field"]: argument for argument in arguments if (m := _FIELD.fullmatch(argument))}
  return [field for field, argument in last.items() if _unset_field(argument)]


def without_unset(arguments: Sequence[str]) -> list[str]:
  """Returns the arguments that ml_collections can read: it knows no way to write None."""
  return [argument for argument in arguments if not _unset_field(argument)]


class ConfigFlag:
  """The flag --config=FILE:ARGUMENT and its fields, --config.FIELD=VALUE."""

  def __init__(self):
    """Defines the flag."""
    self._holder = config_flags.DEFINE_config_file("config", lock_config=True)

  @property
  def filename(self) -> str:
    """FILE or FILE:ARGUMENT."""
    return config_flags.get_config_filename(flags.FLAGS["config"])

  @property
  def overrides(self) -> dict[str, Any]:
    """Field -> value of the command line; None: the field is unset.

    Raises:
      ValueError: a duration is given in both units.
    """
    given = dict(config_flags.get_override_values(flags.FLAGS["config"]))
    given |= dict.fromkeys(_unset_fields(sys.argv))
    durations.refuse_both(given, "--config")
    return given

  @property
  def untouched(self) -> ConfigDict:
    """What the config file returns, before the command line sets anything."""
    return sweep_file.config_maker(self.filename, {})(None)

  @property
  def value(self) -> ConfigDict:
    """The config; a duration that is given in one unit is unset in the other.

    Raises:
      ValueError: see `overrides`; or a field that cannot be unset.
    """
    config = self._holder.value
    for field, value in self.overrides.items():
      if value is None or durations.twin(field):
        sweep_file.set_field(config, field, value, f"--config.{field}")
    return config
