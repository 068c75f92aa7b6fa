"""What was measured on a run: the content of results.json, and of evaluation.json."""

import math
import pathlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from synjax import evaluators, trial
from synjax.training import optim, selection
from synjax.training.run import Run
from synjax.workdir import code_version, files, identity, results
from synjax.workdir import evaluation as evaluation_file
from synjax.workdir.metrics import read_metrics
from synjax.workdir.scores import parse_rule


def build(
  path: pathlib.Path,
  run: Run,
  scores: Mapping[str, evaluators.Scores],
  *,
  seconds: float,
  steps: int,
) -> dict[str, Any]:
  """Builds the content of `results.json`.

  Args:
    path: workdir.
    run: the finished `train.Run`.
    scores: "best" and "last" -> metric -> [trials], of the test split.
    seconds: wall time in the loop, of all processes that trained the run.
    steps: steps done in that time.

  Returns:
    The content: provenance, selection rule, chance levels, what a step costs (of all seeds together,
    see `StepClock` and `Stepper.program_bytes`; None where unknown), and `rows`, one a seed.
  """
  config = identity.read_config(path)
  device = run.devices.devices[0]
  best, last = run.steps_of("best"), run.steps_of("last")
  metric, sign = parse_rule(run.select_metric)
  logged = read_metrics(path / files.METRICS) if (path / files.METRICS).exists() else []
  rule = f"{'highest' if sign > 0 else 'lowest'} {metric}"
  if metric == selection.LAST:
    rule = "the last checkpoint"
  return {
    "config": config,
    "config_hash": results.config_hash(config),
    "code": code_version.describe(),
    "sources": code_version.sources(),
    "versions": code_version.packages(),
    "hardware": f"{len(run.devices.devices)} x {device.device_kind} ({platform.machine()})",
    "dataset": run.dataset.name,
    "data_fingerprint": run.dataset.fingerprint,
    "data": {"stand_in": bool(run.dataset.stand_in), "why": run.dataset.stand_in or None},
    "facts": {name: _plain(fact) for name, fact in run.dataset.facts.items()},
    "initialized_from": run.origin,
    "protocol": config["protocol"],
    "modalities": list(run.dataset.modalities),
    "classes": {task: list(names) for task, names in run.dataset.class_names.items()},
    "select_metric": run.select_metric,
    "selection": f"{rule}, evaluated {_how_often(run.durations)}",
    "chance": dict(evaluators.chance(run.evaluators)),
    "total_steps": run.durations.total,
    "steps_per_epoch": run.durations.steps_per_epoch,
    "seconds": round(seconds, 1),
    "steps_timed": steps,
    "seconds_per_step": run.clock.seconds_per_step,
    "program_bytes": run.stepper.program_bytes,
    "rows": [
      {
        "seed": int(seed),
        "trial": {"seed": int(seed)}
        | {name: float(value[i]) for name, value in run.trials.hyper.items()},
        "best_step": int(best[i]),
        "last_step": int(last[i]),
        "best_value": sign * float(run.selection.value[i]),
        "last_value": _value_at(logged, metric, int(seed), i, int(last[i])),
        "stopped_early": not bool(run.selection.active[i]),
        **{
          which: {name: float(value[i]) for name, value in metrics.items()}
          for which, metrics in scores.items()
        },
      }
      for i, seed in enumerate(run.seeds)
    ],
  }


def _how_often(durations: optim.Durations) -> str:
  """Says when a run is evaluated: also one that is shorter than the steps between evaluations."""
  if durations.eval >= durations.total:
    return "once, at the end"
  return f"every {durations.eval} steps"


def _value_at(
  logged: Sequence[Mapping[str, Any]], metric: str, seed: int, position: int, step: int
) -> float:
  """Returns what a trial was scored at a step, by rows of `metrics.jsonl`; NaN: it was not."""
  own = [
    row[metric]
    for row in logged
    if metric in row
    and (row["step"], row["seed"], row.get("trial", position)) == (step, seed, position)
  ]
  return own[-1] if own else math.nan


def evaluation(
  run: Run,
  which: str,
  scores: evaluators.Scores,
  compared: Mapping[str, Mapping[str, Any]],
  command: str,
) -> dict[str, Any]:
  """Builds the content of `evaluation.json`, see `workdir.evaluation.write`.

  Args:
    run: the restored `train.Run`.
    which: "best" or "last".
    scores: metric -> [trials].
    compared: flag -> what the run was compared with, of `Comparison.compare`.
    command: that was typed.
  """
  names = trial.names(run.trials)
  config = identity.read_config(run.workdir)
  return {
    "which": which,
    "steps": evaluation_file.by_trial(names, run.steps_of(which)),
    "checkpoint": run.step,
    "config_hash": results.config_hash(config),
    "data_fingerprint": run.dataset.fingerprint,
    "stand_in": run.dataset.stand_in or None,
    "code": code_version.describe(),
    "command": command,
    "chance": dict(evaluators.chance(run.evaluators)),
    "unimodal": None,
    **compared,
    "scores": {name: evaluation_file.by_trial(names, values) for name, values in scores.items()},
  }


def _plain(value: Any) -> Any:
  """Turns NumPy values into what JSON can hold."""
  if isinstance(value, np.ndarray | np.generic | jax.Array):
    return np.asarray(value).tolist()
  return value
