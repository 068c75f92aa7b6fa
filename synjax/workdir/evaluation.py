"""evaluation.json: what `launch.evaluate` measured on a run, and what exactly was measured."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synjax.workdir import json_files
from synjax.workdir.files import EVALUATION, numbers, to_json, write_atomically

_SCHEMA = {
  "which": str,
  "steps": {...: int},
  "checkpoint": int,
  "config_hash": str,
  "data_fingerprint": str,
  "stand_in?": json_files.TEXT,
  "code?": json_files.TEXT,
  "command?": json_files.TEXT,
  "chance?": json_files.SCORES,
  "unimodal?": (dict, None),
  "scores": {...: json_files.SCORES},
}
# What two evaluations must agree in to be of the same parameters.
_SAME = ("which", "steps", "checkpoint", "config_hash", "data_fingerprint")


def by_trial(names: Sequence[str], values: np.ndarray) -> dict[str, Any]:
  """Returns trial -> value, as plain numbers; `values` is [trials]."""
  return dict(zip(names, np.asarray(values).tolist(), strict=True))


def write(path: pathlib.Path, content: Mapping[str, Any]) -> None:
  """Writes `evaluation.json` into a workdir.

  Scores of an earlier command stay beside the new ones where they are of the same parameters.

  Args:
    path: workdir.
    content: "which" ("best" or "last"), "steps" (trial -> step of the scored parameters), "checkpoint"
      (step of the file they are read from), "config_hash", "data_fingerprint", "stand_in", "code",
      "command", "chance", "unimodal" (what `--unimodal` compared with, or None), and "scores": metric ->
      trial -> value.
  """
  try:
    old = read(path)
  except ValueError:
    old = None
  content = dict(content)
  if old and all(old.get(name) == content[name] for name in _SAME):
    content |= {
      "scores": old["scores"] | content["scores"],
      "unimodal": content["unimodal"] or old.get("unimodal"),
    }
  write_atomically(path / EVALUATION, to_json(content, indent=2))


def read(path: pathlib.Path) -> dict[str, Any] | None:
  """Reads the `evaluation.json` of a workdir, NaN for scores that do not exist; None where there is none.

  Raises:
    ValueError: the file is damaged, or of a version that did not say what was scored.
  """
  if not (path / EVALUATION).exists():
    return None
  advice = "run launch.evaluate on this workdir again, which writes it anew, or delete it"
  content = json_files.read(path / EVALUATION, "scores of a run", _SCHEMA, advice)
  return content | {"scores": {name: numbers(found) for name, found in content["scores"].items()}}
