"""The fields of a config as text: values, who set them, what they mean."""

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from configs import defaults, meanings
from synjax.config.flat_fields import flat

_WIDTH = 60  # of a value that is shown


def align(rows: Sequence[Sequence[str]]) -> str:
  """Returns rows of texts as columns, without spaces at the ends of lines."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  lines = ("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)
  return "\n".join(lines)


def describe(config: ConfigDict, name: str, given: Mapping[str, Any]) -> list[tuple[str, ...]]:
  """Returns (field, value, who set it, meaning) of every field of a config.

  Args:
    config: of a run.
    name: FILE or FILE:ARGUMENT, as --config has it.
    given: what the command line set, field -> value.
  """
  file = str(pathlib.Path(name.partition(":")[0]).expanduser())
  known, before = meanings.of(config.method.name, file), flat(ConfigDict(defaults.of(config)))
  rows = []
  for field, value in flat(ConfigDict(json.loads(config.to_json_best_effort()))).items():
    changed = field not in before or before[field] != value
    whose = "command line" if field in given else pathlib.Path(file).name if changed else ""
    shown = json.dumps(value)
    shown = shown if len(shown) <= _WIDTH else f"{shown[: _WIDTH - 4]} ..."
    rows.append((field, shown, whose, known.get(field, "")))
  return rows
