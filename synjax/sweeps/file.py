"""Sweep files: which rows a sweep has, and how a row's fields get into its config.

A sweep file is Python. `get_hyper(hyper)` returns its rows, one flat dict of config fields each:

    def get_hyper(hyper):
      return hyper.product([hyper.sweep("optim.lr", [1e-3, 1e-2]), hyper.sweep("seed", range(3))])

Three fields of a row are no config fields: "config", the argument that the row's config file gets, for
rows that start from different defaults; "arm", a name for tables and plots, recorded and never
applied; "role", of unimodal models that other rows are scored beside (`synjax.sweeps.judges`).
`get_report()`, optional, describes the table and plots; see `synjax.report.sweeps`.
`get_flags()`, optional, returns flags that stand before those that are typed where --config is not.

With `--sweep=FILE:ARGUMENT` each of these functions that takes an argument more gets it.
"""

import copy
import difflib
import importlib.util
import inspect
import math
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import RequiredValueError

from synjax.config import networks
from synjax.config.durations import twin

Overrides = dict[str, Any]


class Hyper:
  """What `get_hyper` builds its rows from; every function returns a list of rows."""

  @staticmethod
  def sweep(field: str, values: Iterable[Any]) -> list[Overrides]:
    """Returns one row for each value of a field."""
    return [{field: value} for value in values]

  @staticmethod
  def chainit(sweeps: Iterable[Sequence[Overrides]]) -> list[Overrides]:
    """Returns the rows of all sweeps, one after another."""
    return [dict(row) for rows in sweeps for row in rows]

  @staticmethod
  def product(sweeps: Iterable[Sequence[Overrides]]) -> list[Overrides]:
    """Returns every combination of one row of each sweep; the last sweep changes fastest.

    Raises:
      ValueError: two sweeps set the same field.
    """
    product: list[Overrides] = [{}]
    for rows in sweeps:
      product = [_join(left, right) for left in product for right in rows]
    return product

  @staticmethod
  def zipit(sweeps: Sequence[Sequence[Overrides]]) -> list[Overrides]:
    """Returns the first rows of all sweeps joined, the second rows joined, and so on.

    Raises:
      ValueError: sweeps of different lengths, or two sweeps set the same field.
    """
    lengths = [len(rows) for rows in sweeps]
    if len(set(lengths)) > 1:
      raise ValueError(f"hyper.zipit: expected sweeps of one length, found lengths {lengths}")
    joined: list[Overrides] = [{} for _ in range(max(lengths, default=0))]
    for rows in sweeps:
      joined = [_join(left, right) for left, right in zip(joined, rows, strict=True)]
    return joined


def _join(left: Mapping[str, Any], right: Mapping[str, Any]) -> Overrides:
  twice = sorted(set(left) & set(right))
  if twice:
    raise ValueError(
      f"sweep file: expected a field in one of the joined sweeps, found {', '.join(twice)} in two"
      f" ({describe(left)} and {describe(right)}); drop one, or use hyper.chainit"
    )
  return {**left, **right}


def describe(overrides: Mapping[str, Any]) -> str:
  """Formats overrides in one line."""
  return ", ".join(f"{field}={value!r}" for field, value in overrides.items()) or "no overrides"


def load_module(path: str, needed: str, flag: str, folder: str):
  """Imports a Python file from its path, where "~" is the home folder.

  Args:
    path: of the file.
    needed: a function that must be in it.
    flag: that gave the path, for messages.
    folder: where such files are, for messages.

  Raises:
    ValueError: no such file, or the function that is `needed` is not in it.
  """
  path = str(pathlib.Path(path).expanduser())
  if not pathlib.Path(path).is_file() or not path.endswith(".py"):
    raise ValueError(
      f"{flag}={path}: expected a Python file, found none; {_nearest(path, needed, flag, folder)}"
    )
  spec = importlib.util.spec_from_file_location(pathlib.Path(path).stem, path)
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  if not hasattr(module, needed):
    raise ValueError(
      f"{flag}={path}: expected a function {needed} in it, found none; add it, or choose another file:"
      f" {_nearest(path, needed, flag, folder)}"
    )
  return module


def _nearest(path: str, needed: str, flag: str, folder: str) -> str:
  """Says what to type instead of a path: the nearest file that has what is needed, or those there are."""
  known = {
    file.stem: file
    for file in sorted(pathlib.Path(folder).glob("[!_]*.py"))
    if f"\ndef {needed}(" in file.read_text()
  }
  close = difflib.get_close_matches(pathlib.Path(path).stem, known, n=1)
  if close:
    return f"did you mean {flag}={known[close[0]]}"
  return (
    f"{folder} has {', '.join(known)}"
    if known
    else f"give one that is there from {pathlib.Path.cwd()}"
  )


def load(name: str) -> tuple[list[Overrides], dict[str, Any]]:
  """Reads a sweep file.

  Args:
    name: "FILE" or "FILE:ARGUMENT"; with an argument, `get_hyper(hyper, argument)` is called.

  Returns:
    The rows' overrides, and the description of the report ({} when the file gives none).

  Raises:
    ValueError: no such file, no `get_hyper` in it, an argument that it needs is missing, or what
      `get_hyper` refuses.
  """
  module, argument = _load_sweep(name)
  overrides = _call(name, module.get_hyper, [Hyper], argument)
  report = _call(name, module.get_report, [], argument) if hasattr(module, "get_report") else {}
  return list(overrides), report


def load_flags(name: str) -> list[str]:
  """Returns the flags that a sweep file, see `load`, sets where --config is not typed; maybe none."""
  module, argument = _load_sweep(name)
  return _call(name, module.get_flags, [], argument) if hasattr(module, "get_flags") else []


def _load_sweep(name: str):
  path, *argument = name.split(":", 1)
  return load_module(path, "get_hyper", "--sweep", "configs/sweeps"), argument


def _call(name: str, function, first: Sequence[Any], argument: Sequence[str]):
  """Calls a function of a sweep file, with the argument where the function takes one."""
  taken = list(inspect.signature(function).parameters.values())[len(first) :]
  path = name.partition(":")[0]
  if argument and first and not taken:
    raise ValueError(f"--sweep={name}: expected no argument, found one; type --sweep={path}")
  if any(parameter.default is parameter.empty for parameter in taken) and not argument:
    raise ValueError(
      f"--sweep={name}: expected an argument after the file, found none; type --sweep={path}:ARGUMENT,"
      " see the start of the file"
    )
  return function(*first, *(argument if taken else ()))


def config_maker(name: str, overrides: Mapping[str, Any]) -> Callable[[str | None], ConfigDict]:
  """Makes the function from a config file's argument to the config, as `expand` wants it.

  Args:
    name: "FILE" or "FILE:ARGUMENT"; the argument serves rows without a field "config".
    overrides: values of the command line, set in every config; a row's own overrides go on top.

  Returns:
    make_config(argument or None) -> config.

  Raises:
    ValueError: no such file; from make_config, what the file or a field refuses.
  """
  path, *default = name.split(":", 1)
  get_config = load_module(path, "get_config", "--config", "configs").get_config

  def make_config(argument: str | None) -> ConfigDict:
    config = get_config(*(default if argument is None else [argument]))
    for field, value in overrides.items():
      set_field(config, field, value, f"--config.{field}")
    return config

  return make_config


def list_fields(config: ConfigDict, prefix: str = "") -> list[str]:
  """Lists the dotted names of all fields."""
  names = []
  for name in config:
    field = f"{prefix}{name}"
    names += (
      list_fields(config[name], f"{field}.") if isinstance(config[name], ConfigDict) else [field]
    )
  return names


def _abbreviates(short: str, name: str) -> bool:
  """Says whether a name is the initials of another, as lr is of learning_rate."""
  words = name.split("_")
  return len(words) > 1 and short == "".join(word[:1] for word in words)


def _may_be_none(value: Any) -> bool:
  """Says whether a field is a placeholder; a reference that others follow must have a value."""
  if not isinstance(value, FieldReference):
    return False
  unset = copy.copy(value)
  unset.set(None)
  try:
    return unset.get() is None
  except RequiredValueError:
    return False


def set_field(config: ConfigDict, field: str, value: Any, where: str) -> None:
  """Sets a dotted field to a value of its type; an int is taken for a float, a list for a tuple.

  A duration that is set in one unit is unset in the other; the name of an encoder or adapter decides
  which fields there are beside it.

  Raises:
    ValueError: unknown field, or a value of another type, beginning with `where`.
  """
  networks.prepare(config, field, value, where)
  *path, name = field.split(".")
  section = config
  for part in path:
    section = section.get(part) if isinstance(section, ConfigDict) else None
  if not isinstance(section, ConfigDict) or name not in section:
    fields = list_fields(config)
    close = [known for known in fields if _abbreviates(known.split(".")[-1], name)]
    close += [near for near in difflib.get_close_matches(field, fields, n=3) if near not in close]
    close = close or [known for known in fields if known.endswith(f".{name}")]
    hint = f"close: {', '.join(close)}" if close else f"known: {', '.join(fields)}"
    if path and isinstance(section, ConfigDict):
      hint += f"; {'.'.join(path)} has {', '.join(section)}"
    raise ValueError(f"{where}: expected a field of the config, found {field!r}; {hint}")
  optional = _may_be_none(dict(section.items(preserve_field_references=True))[name])
  kind = section.get_type(name)
  good = optional if value is None else isinstance(value, kind)
  if kind in (int, float):
    number = isinstance(value, int | kind) and not isinstance(value, bool)
    good = (value is None and optional) or (number and math.isfinite(value))
  elif kind is tuple:
    good = isinstance(value, tuple | list)
  if not good or kind is ConfigDict:
    raise ValueError(
      f"{where}: {field}: expected {'a field, not a section' if kind is ConfigDict else kind.__name__}"
      f"{' or None' if optional else ''}, found {value!r} ({type(value).__name__})"
    )
  section[name] = value if value is None else kind(value)
  other = twin(field)
  if value is not None and other in config:
    config[other] = None
