"""What `launch.evaluate` measures on a run, for evaluation.json."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synjax import evaluators, trial
from synjax.evaluators import classification
from synjax.workdir import code_version, files, results

UNIMODAL = "--unimodal"

Scores = dict[str, np.ndarray]  # metric -> [trials]


def synergy_subset(run, members: Sequence, which: str) -> tuple[Scores, dict[str, Any]]:
  """Scores a run on the test examples that separately trained unimodal models get wrong.

  Args:
    run: `train.Run` of a classifier.
    members: runs of the unimodal models: one of "ensemble", or of "unimodal", one a modality. Each trial
      of `run` is compared with those of its own seed and data, wherever they stand.
    which: "best" or "last" parameters, of all.

  Returns:
    ("test/label/<metric>" -> [trials], see `classification.synergy_subset`; what the unimodal models
    were: modality -> where from, its selection rule, and for each trial the selected step and
    hyper-parameters).

  Raises:
    ValueError: a run of another method, on other data or labels, without a seed, or the run itself; or
      the modalities are not each there once.
  """
  _require(
    hasattr(run.method, "unimodal_losses"),
    f"expected --workdir to hold a classifier, whose predictions can be right on the subset, found"
    f" {run.config.method.name}; leave {UNIMODAL} out",
  )
  for other in members:
    _check_member(run, other)
  owners = [(name, other) for other in members for name in other.method.members()]
  found = sorted(name for name, _ in owners)
  _require(
    found == sorted(run.dataset.modalities),
    f"expected one model for each of {sorted(run.dataset.modalities)}, found {found}; give a run of"
    " ensemble, or runs of unimodal with config.method.modality set, separated by commas",
  )
  rows = [_match(run, other) for other in members]
  split = run.dataset.test
  label = run.frozen(which).field("label", split)
  scores = []
  for other, own in zip(members, rows, strict=True):
    frozen = other.frozen(which)
    _require(
      np.array_equal(frozen.field("label", other.dataset.test)[own], label),
      f"expected a run that learned the same labels, found others in {other.workdir}; train it with the"
      " config.data of the run to be scored",
    )
    scores.append(frozen.unimodal_logits(other.dataset.test)[own])
  unimodal = np.concatenate(scores, axis=2)
  trials = zip(run.frozen(which).logits(split), unimodal, label, run.seeds, strict=True)
  parts = [classification.synergy_subset(*t[:3], seed=int(t[3])) for t in trials]
  named = {f"test/label/{name}": np.array([part[name] for part in parts]) for name in parts[0]}
  chosen = dict(zip(map(id, members), rows, strict=True))
  return named, {
    name: _describe_member(run, other, chosen[id(other)], which) for name, other in owners
  }


def _require(holds: bool, message: str) -> None:
  if not holds:
    raise ValueError(f"{UNIMODAL}: {message}")


def _check_member(run, other) -> None:
  _require(
    other.workdir.resolve() != run.workdir.resolve(),
    f"expected other runs than the one that is scored, found {other.workdir} itself",
  )
  _require(
    hasattr(other.method, "members"),
    f"expected a run of ensemble or unimodal, whose models share nothing, found {other.workdir} of"
    f" {other.config.method.name}",
  )
  ours, theirs = run.dataset.fingerprint, other.dataset.fingerprint
  _require(
    ours == theirs,
    f"expected a run on the same data, {ours}, found {theirs} in {other.workdir}; train config.method"
    " ensemble on the data of the run to be scored",
  )


def _match(run, other) -> np.ndarray:
  """Returns the row of `other` that has the seed and the data of each trial of `run`."""
  fields = run.dataset.traced
  known = [_identity(other.trials, fields, i) for i in range(len(other.seeds))]
  rows = []
  for i in range(len(run.seeds)):
    wanted = _identity(run.trials, fields, i)
    same = [row for row, found in enumerate(known) if found == wanted]
    _require(
      len(same) == 1,
      f"expected one run with {_line(wanted)}, found {len(same)} in {other.workdir}, which has"
      f" {'; '.join(map(_line, known))}; train it with the seeds and data of the run to be scored",
    )
    rows += same
  return np.array(rows)


def _identity(trials, fields: Sequence[str], i: int) -> dict[str, float]:
  return {"seed": int(trials.seed[i])} | {name: float(trials.hyper[name][i]) for name in fields}


def _line(values: Mapping[str, float]) -> str:
  return ", ".join(f"{name} {value:g}" for name, value in values.items())


def _describe_member(run, other, rows: np.ndarray, which: str) -> dict[str, Any]:
  """Says where a unimodal model comes from and how it was selected."""
  joint = len(other.method.members()) > 1
  alone = "of this model alone"
  rule = f"highest {other.select_metric} {'of the ensemble, one step for all models' if joint else alone}"
  at, names = other.steps_of(which)[rows], trial.names(run.trials)
  hyper = {n: v for n, v in other.trials.hyper.items() if n not in run.dataset.traced}
  return {
    "workdir": str(other.workdir),
    "method": other.config.method.name,
    "config_hash": results.config_hash(_config(other)),
    "selection": rule if which == "best" else "the last step",
    "trials": {
      name: {"step": int(step)} | {field: float(value[row]) for field, value in hyper.items()}
      for name, step, row in zip(names, at, rows, strict=True)
    },
  }


def _config(run) -> dict[str, Any]:
  return json.loads((run.workdir / files.CONFIG).read_text())


def build(
  run, which: str, scores: Scores, unimodal: Mapping[str, Any] | None, command: str
) -> dict[str, Any]:
  """Builds the content of `evaluation.json`.

  Args:
    run: the restored `train.Run`.
    which: "best" or "last".
    scores: metric -> [trials].
    unimodal: of `synergy_subset`; None: not scored.
    command: that was typed.

  Returns:
    "which", "steps" (trial -> step of the scored parameters), "checkpoint" (step of the file they are
    read from), "config_hash", "data_fingerprint", "stand_in", "code", "command", "chance", "unimodal",
    and "scores": metric -> trial -> value.
  """
  names = trial.names(run.trials)
  named = lambda values: dict(zip(names, np.asarray(values).tolist(), strict=True))  # noqa: E731
  return {
    "which": which,
    "steps": named(run.steps_of(which)),
    "checkpoint": run.step,
    "config_hash": results.config_hash(_config(run)),
    "data_fingerprint": run.dataset.fingerprint,
    "stand_in": run.dataset.stand_in or None,
    "code": code_version.describe(),
    "command": command,
    "chance": dict(evaluators.chance(run.config, run.dataset)),
    "unimodal": unimodal,
    "scores": {name: named(values) for name, values in scores.items()},
  }
