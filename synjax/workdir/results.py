"""results.json: what a finished run measured, and everything needed to know what was measured."""

import hashlib
import json
import pathlib
from typing import Any

from synjax.workdir.files import RESULTS, number, numbers, to_json, write_atomically

COSTS = ("seconds", "steps_timed", "seconds_per_step", "program_bytes")  # of the steps


def config_hash(config: dict[str, Any]) -> str:
  """Returns 12 hex characters that identify a config."""
  return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:12]


def write(path: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes `results.json` into the workdir."""
  write_atomically(path / RESULTS, to_json(content, indent=2))


def read(path: pathlib.Path) -> dict[str, Any]:
  """Reads the `results.json` of a workdir; scores that do not exist, null there, are NaN.

  Raises:
    ValueError: the file is cut or something else; the message says what was found.
    OSError: it cannot be read.
  """
  content = json.loads((path / RESULTS).read_text())
  if not isinstance(content, dict) or not isinstance(content.get("rows"), list):
    raise ValueError("JSON without rows")
  rows = [read_scores(row) for row in content["rows"]]
  return content | {"rows": rows, "chance": numbers(content.get("chance", {}))}


def read_scores(row: dict[str, Any]) -> dict[str, Any]:
  """Returns a row of `results.json` or of a sweep's journal with NaN for scores that are null."""
  scores = {which: numbers(row[which]) for which in ("best", "last") if which in row}
  return row | scores | ({"best_value": number(row["best_value"])} if "best_value" in row else {})
