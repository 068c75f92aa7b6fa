"""Files of a workdir: names; written whole or not at all, in JSON that every reader takes (RFC 8259)."""

import contextlib
import json
import math
import os
import pathlib
import socket
from collections.abc import Iterator, Mapping
from typing import Any

CONFIG = "config.json"  # the run's config
RUN = "run.json"  # the data it is trained on, see `identity`
RESULTS = "results.json"  # what the finished run measured, see `results`
EVALUATION = "evaluation.json"  # what launch.evaluate measured, see `evaluation`
METRICS = "metrics.jsonl"  # what was logged on the way, see `metrics`
TENSORBOARD = "tensorboard"  # the same, a folder a trial
CHECKPOINTS = "checkpoints"
SWEEP = "sweep.json"  # of a sweep's folder: its rows
DESCRIPTION = "description.json"  # of a sweep's folder: its report, as its sweep file describes it
EMBEDDINGS = "embeddings.npz"
PREDICTIONS = "predictions.npz"
GAUSSIANITY = "gaussianity.npz"
STANDARDIZATION = "standardization.json"  # what inputs were standardised by, see `standardization`
SCHEMA = "schema.json"  # what its model takes and gives, see `schema`
TOKENIZER = "tokenizer"  # copies of the files that read its texts, a folder a modality
PROBES = "probes.npz"  # the linear classifiers and regressions that scored its representation
PID = "pid.json"  # what launch.pid found, and its figure
PID_FIGURE = "pid.png"
REPORT = "report"  # report.md and its figures


def resolve(path: str | os.PathLike) -> pathlib.Path:
  """Returns the absolute path that a flag or config field means; "~" is the home folder."""
  return pathlib.Path(path).expanduser().absolute()


def require_folder(path: pathlib.Path, name: str) -> None:
  """Checks that a folder can be where a flag says.

  Args:
    path: absolute; it need not exist.
    name: of the flag; "": it stands before the message already.

  Raises:
    ValueError: it is a file, or lies below one.
  """
  for place in (path, *path.parents):
    if place.exists() and not place.is_dir():
      raise ValueError(
        f"{name}{': ' * bool(name)}expected a folder, found {path}, and {place} is a file; choose another"
      )


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
  """Yields where to write a file that takes its place when it is whole; if not, nothing is left of it."""
  # The host, too: processes of two containers that share a folder often have one number.
  writer = f"{socket.gethostname()}-{os.getpid()}"
  temporary = path.with_name(f"{path.stem}.{writer}.tmp{path.suffix}")
  try:
    yield temporary
    os.replace(temporary, path)
  finally:
    temporary.unlink(missing_ok=True)


def write_atomically(path: pathlib.Path, text: str) -> None:
  """Writes a file so that a reader finds the old or the new content, never a part."""
  with replacing(path) as temporary:
    temporary.write_text(text)


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


def numbers(found: Mapping[str, Any]) -> dict[str, Any]:
  """Returns named numbers read from JSON, with NaN for null; other values stay as they are."""
  return {name: math.nan if value is None else value for name, value in found.items()}
