"""Files of a workdir: written whole or not at all, and in JSON that every reader takes (RFC 8259)."""

import json
import math
import os
import pathlib
from typing import Any


def resolve(path: str | os.PathLike) -> pathlib.Path:
  """Returns the absolute path that a flag or config field means; "~" is the home folder."""
  return pathlib.Path(path).expanduser().absolute()


def write_atomically(path: pathlib.Path, text: str) -> None:
  """Writes a file so that a reader finds the old or the new content, never a part."""
  temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
  temporary.write_text(text)
  os.replace(temporary, path)


def to_json(content: Any, **options: Any) -> str:
  """Formats plain values as strict JSON: numbers that are not finite become null.

  Args:
    content: nested dicts, lists, numbers, texts.
    **options: of `json.dumps`, such as `indent`.

  Returns:
    The text, without a line break at its end.
  """
  return json.dumps(_finite(content), allow_nan=False, **options)


def _finite(value: Any) -> Any:
  if isinstance(value, float) and not math.isfinite(value):
    return None
  if isinstance(value, dict):
    return {name: _finite(part) for name, part in value.items()}
  if isinstance(value, list | tuple):
    return [_finite(part) for part in value]
  return value


def number(value: float | None) -> float:
  """Returns a number read from JSON; null, which stands for one that does not exist, is NaN."""
  return math.nan if value is None else float(value)
