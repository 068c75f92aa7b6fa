"""Whether numbers may stand beside published ones: of the published size, setting and protocol."""

from collections.abc import Callable, Mapping
from typing import Any

from synjax.config import protocols

Read = Callable[[str], Any]


def read_field(config: Mapping[str, Any], name: str) -> Any:
  """Returns a dotted field of a config, None without it.

  A list comes as a tuple: config.json has no others. A field left to the protocol is what that says.
  """
  value = protocols.resolve(config)
  for part in name.split("."):
    value = value.get(part) if isinstance(value, Mapping) else None
  return tuple(value) if isinstance(value, list) else value


def columns_of(benchmark, read: Read) -> dict[str, Any]:
  """Returns the published columns, by name, for whose modalities and pairs a run is.

  Args:
    benchmark: a dataset's `configs.published.Benchmark`.
    read: from a dotted config field to its value; "num_seeds" and "total_epochs" are what is averaged.
  """
  return {
    name: column
    for name, column in benchmark.columns.items()
    if all(read(field) == value for field, value in column.setting.items())
  }


def differences(benchmark, columns, method: str, read: Read) -> list[str]:
  """Lists in what a run differs from those that columns were published for; nothing: comparable.

  Args:
    benchmark: of its dataset.
    columns: of `columns_of`.
    method: its name.
    read: as in `columns_of`.
  """
  wanted = dict(benchmark.setting)
  for column in columns:
    wanted |= column.methods.get(method, {})
  other = [benchmark.otherwise[method]] if method in benchmark.otherwise else []
  return other + [
    f"{name} {read(name)} (published {value})"
    for name, value in wanted.items()
    if read(name) != value
  ]
