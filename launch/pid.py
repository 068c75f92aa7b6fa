"""What is in my data: python -m launch.pid --data=FOLDER, or --workdir=FOLDER of a run.

Decomposes what every pair of modalities tells about each label into redundant, unique and synergistic
bits (BROJA), by two estimators: clusters, and classifiers that are fitted here. With --data, FOLDER as
configs/arrays.py reads it, of the raw features of all its examples, whatever their split; with --workdir,
of the features that the run's encoders make of its test split. Every part comes with a 95 % interval and
with what shuffled labels read; where that is as much, the answer is "not distinguishable from zero" and
how many examples it would take. Figures are what these estimators see in these features, and no bound on
what the data hold: raw vectors can hide a synergy that a trained run shows. Writes pid.json and pid.png
into --out, or the run's folder.

A part is not a share of examples: data in which each label sits in one of four sources have the BROJA
parts of docs/spec/verification.md 3.2.
"""

import dataclasses
import pathlib
import shlex
import sys
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from absl import flags

from launch import app, features
from synjax.evaluators import pairs
from synjax.evaluators.progress import Progress
from synjax.report import decomposition
from synjax.report.plots import canvas
from synjax.workdir import files

_DATA = app.define_path("data", "Folder of your own data, as configs/arrays.py reads it.")
_KIND = flags.DEFINE_string(
  "label_kind",
  None,
  "Of --data: what its labels are, as config.data.label_kind of configs/arrays.py.",
)
_MODALITIES = flags.DEFINE_list("modalities", None, "Of --data: arrays to use, by name.")
_WORKDIR = app.define_path("workdir", "Folder of a run of launch.train.")
_DATA_DIR = app.define_path("data_dir", "Of a run: where its data are now.")
_OUT = app.define_path("out", "Where to write; default: the folder of the run; of --data: nowhere.")
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which parameters of the run.")
_CODES = flags.DEFINE_integer(
  "clusters", None, "Codes of each modality; default: as many as the examples allow.", lower_bound=2
)
_SHUFFLES = flags.DEFINE_integer("shuffles", 20, "Shuffles of the labels.", lower_bound=2)
_BOOTSTRAPS = flags.DEFINE_integer("bootstraps", 200, "Resamples of the examples.", lower_bound=20)
_SEED = flags.DEFINE_integer("seed", 0, "Of all draws.")


def main() -> None:
  """Runs the command."""
  if (_DATA.value is None) == (_WORKDIR.value is None):
    raise ValueError("expected one of --data and --workdir; see --help")
  examples = (
    features.raw(
      _DATA.value, _KIND.value, [name.strip(" ()'\"") for name in _MODALITIES.value or ()]
    )
    if _DATA.value
    else features.encoded(_WORKDIR.value, _DATA_DIR.value, _WHICH.value)
  )
  print(f"pid of {examples.of}", flush=True)
  if examples.left_out:
    print(f"not decomposed, for they are no classes: {', '.join(examples.left_out)}")
  out = _OUT.value or _WORKDIR.value
  if out:
    pathlib.Path(out).mkdir(parents=True, exist_ok=True)
  rows: list[dict[str, Any]] = []
  for task, labels in examples.labels.items():
    progress = Progress(f"pid of {task}", pairs.num_parts(len(examples.features)))
    for row in _decompose(examples.features, task, labels, progress):
      rows.append(row)
      print("\n".join([*decomposition.describe(row), *_disagreements(rows)]), flush=True)
  print(decomposition.caveat(raw=bool(_DATA.value)))
  if out:
    _write(pathlib.Path(out), examples, rows)
  else:
    print(f"written nowhere; --out=FOLDER keeps {files.PID} and {files.PID_FIGURE}")


def _disagreements(rows: list[dict[str, Any]]) -> list[str]:
  """Returns what is said of the last two rows, if they are of one pair by two estimators."""
  *_, last = rows
  same = [row for row in rows[-2:-1] if row["modalities"] == last["modalities"]]
  same = [row for row in same if row["task"] == last["task"]]
  return [line for row in same for line in decomposition.disagreements(row, last)]


def _write(folder: pathlib.Path, examples: features.Examples, rows: list[dict[str, Any]]) -> None:
  content = {
    "of": examples.of,
    "command": shlex.join(["python", "-m", "launch.pid", *sys.argv[1:]]),
    "data_fingerprint": examples.fingerprint,
    "caveat": decomposition.caveat(raw=bool(_DATA.value)),
    "pairs": rows,
  }
  files.write_atomically(folder / files.PID, files.to_json(content, indent=2))
  figure = decomposition.plot(rows, title=f"BROJA decomposition: {examples.of}")
  canvas.save(figure, folder / files.PID_FIGURE)
  print(f"pid: {folder / files.PID}\nplot: {folder / files.PID_FIGURE}")


def _decompose(
  values: Mapping[str, np.ndarray], task: str, labels: np.ndarray, progress: Progress
) -> Iterator[dict[str, Any]]:
  """Yields a row for each pair and estimator, over the examples that have all modalities."""
  complete = np.all([np.isfinite(own).all(1) for own in values.values()], axis=0)
  if not complete.any():
    raise ValueError(
      f"pid: expected examples that have all of {tuple(values)}, found none; name two modalities that"
      " occur together"
    )
  labels = labels[complete]
  entropy = _entropy(labels)
  found = pairs.decompose_pairs(
    {name: own[complete] for name, own in values.items()},
    labels,
    num_codes=_CODES.value,
    num_shuffles=_SHUFFLES.value,
    num_bootstraps=_BOOTSTRAPS.value,
    seed=_SEED.value,
    done=progress,
  )
  for pair in found:
    parts = dataclasses.asdict(pair.parts)
    yield {
      "task": task,
      "modalities": list(pair.modalities),
      "estimator": pair.estimator,
      "codes": pair.num_codes,
      "examples": parts.pop("num_examples"),
      "cells": parts.pop("num_cells"),
      "label_entropy": entropy,
      "parts": parts,
    }


def _entropy(labels: np.ndarray) -> float:
  share = np.unique(labels, return_counts=True)[1] / len(labels)
  return float(-np.sum(share * np.log2(share)))


if __name__ == "__main__":
  app.run(main, "python -m launch.pid --data=FOLDER")
