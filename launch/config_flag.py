"""The flag --config, and the fields of a config that are set or unset on the command line."""

import ast
import itertools
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags
from ml_collections import ConfigDict, config_flags

from configs import methods
from synjax.config import durations, networks
from synjax.sweeps import file as sweep_file

flags.disclaim_key_flags()  # they belong to the command that asks for them
WHERE_FIELDS_ARE = (
  "fields, --config.FIELD=VALUE, are in configs/common.py, configs/methods.py and the config file"
)
_UNKNOWN = object()
_FIELD = re.compile(r"--?(no)?config\.(?P<field>[^=]+)(=(?P<value>.*))?", re.DOTALL)


def joined(arguments: Sequence[str]) -> list[str]:
  """Returns the arguments with `--config VALUE` and `--config.FIELD VALUE` spelled with "="."""
  found: list[str] = []
  for argument in arguments:
    open_flag = found and re.fullmatch(r"--?config(\.[^=]+)?", found[-1])
    if open_flag and not re.match("--?[A-Za-z]", argument):
      found[-1] += f"={argument}"
    else:
      found.append(argument)
  return found


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


def _of_networks(arguments: Sequence[str]) -> dict[str, Any]:
  """Returns the fields of encoders and adapters that are set, and their values; names come first."""
  matches = [m for m in map(_FIELD.fullmatch, arguments) if m and networks.is_field(m["field"])]
  found = {m["field"]: _literal(m["value"]) for m in matches if m["value"] is not None}
  return dict(sorted(found.items(), key=lambda pair: not pair[0].endswith(".name")))


def _literal(text: str) -> Any:
  """Returns what a text on a command line means, without a field that says its type."""
  if text in ("true", "false"):
    return text == "true"
  try:
    return ast.literal_eval(text)
  except (ValueError, SyntaxError):
    return text


def readable(arguments: Sequence[str]) -> list[str]:
  """Returns the arguments that ml_collections can read.

  It knows no way to write None, and no fields that a file does not have: those of another encoder.
  """
  networks_of = _of_networks(arguments)

  def is_read(argument: str) -> bool:
    match = _FIELD.fullmatch(argument)
    return not (_unset_field(argument) or match and match["field"] in networks_of)

  return list(filter(is_read, arguments))


def check(arguments: Sequence[str]) -> None:
  """Checks --config=FILE:ARGUMENT and the fields set beside it, before absl words it its own way.

  Args:
    arguments: of the command line.

  Raises:
    ValueError: one line: what the file refuses, an argument that is missing, an unknown field (with the
      nearest), a section set as if it were a field, or a value of another type.
  """
  name = next((a.partition("=")[2] for a in arguments if re.match("--?config=", a)), None)
  if name is None:
    return
  path, colon, _ = name.partition(":")
  try:
    config = sweep_file.config_maker(name, {})(None)
  except TypeError as error:
    if colon or "argument" not in str(error):
      raise
    raise ValueError(
      f"--config={name}: expected an argument after the file, found none; type --config={path}:METHOD"
    ) from error
  of_networks = _of_networks(arguments)
  for field, value in of_networks.items():
    sweep_file.set_field(config, field, value, f"--config.{field}")
  for argument in arguments:
    match = _FIELD.fullmatch(argument)
    if match is not None and match["field"] not in of_networks:
      _check_field(config, match["field"], match["value"], name)


def _check_field(config: ConfigDict, field: str, text: str | None, name: str) -> None:
  """Refuses a field that the config lacks, a section, and a number that is none."""
  value, section = config, None
  for part in field.split("."):
    section = value
    value = value.get(part, _UNKNOWN) if isinstance(value, ConfigDict) else _UNKNOWN
  if value is _UNKNOWN:
    sweep_file.set_field(config, field, None, f"--config.{field}")  # says so, with what is near
  if isinstance(value, ConfigDict):
    inside = ", ".join(f"--config.{field}.{part}" for part in value)
    choose = f"; a method is chosen by --config={name.partition(':')[0]}:METHOD"
    raise ValueError(
      f"--config.{field}: expected a field, found a section; type one of its fields, {inside}"
      + choose * (field == "method")
    )
  kind = section.get_type(field.rpartition(".")[2])  # of a field that is unset, too
  if kind in (int, float) and text not in (None, "None", "none", ""):
    try:
      kind(text)
    except ValueError:
      expected = {int: "a whole number", float: "a number"}[kind]
      meaning = methods.describe_field(config.method.name, field)
      raise ValueError(
        f"--config.{field}{f' ({meaning})' if meaning else ''}: expected {expected}, found {text!r}; type"
        f" --config.{field}={kind(1) if value is None else value}"
      ) from None


def of_the_sweep_file(argv: Sequence[str]) -> list[str]:
  """Returns a command line with what its --sweep=FILE sets put first, where --config is not typed."""
  sweep, config = (_typed(argv, name) for name in ("sweep", "config"))
  added = sweep_file.load_flags(sweep) if sweep and config is None else []
  return [argv[0], *added, *argv[1:]]


def _typed(argv: Sequence[str], name: str) -> str | None:
  """Returns the value of a flag as it is typed, None without it."""
  for argument, following in itertools.zip_longest(argv, argv[1:], fillvalue=""):
    found, equals, value = argument.partition("=")
    if found in (f"-{name}", f"--{name}"):
      return value if equals else following
  return None


class ConfigFlag:
  """The flag --config=FILE:ARGUMENT and its fields, --config.FIELD=VALUE."""

  def __init__(self):
    """Defines the flag."""
    names = ", ".join(methods.METHODS)
    self._holder = config_flags.DEFINE_config_file(
      "config",
      help_string=f"FILE.py:METHOD[,PRESET], METHOD one of {names}; {WHERE_FIELDS_ARE}.",
      lock_config=True,
    )

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
    arguments = joined(sys.argv)
    given |= dict.fromkeys(_unset_fields(arguments)) | _of_networks(arguments)
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
      if value is None or durations.twin(field) or networks.is_field(field):
        sweep_file.set_field(config, field, value, f"--config.{field}")
    return config
