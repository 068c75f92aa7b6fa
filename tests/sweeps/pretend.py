"""Sweeps of a config of few fields, and a trainer that only pretends."""

import json
import pathlib

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from synjax.sweeps import file as sweep_file
from synjax.sweeps import plan
from synjax.training.step_metrics import NotFinite

ROOT = pathlib.Path(__file__).parents[2]


TRACED = {"optim.lr", "data.strength", "method.penalty"}


def make_config(argument=None):
  method = argument or "supervised"
  if method not in ("supervised", "synib"):
    raise ValueError(f"method: expected supervised or synib, found {method!r}")
  fields = {"penalty": 1.0, "mask": "random"} if method == "synib" else {}
  return ConfigDict(
    {
      "seed": 42,
      "num_seeds": 1,
      "early_stop": placeholder(int),
      "select": "val/accuracy",
      "optim": {"lr": 1e-3, "nesterov": False, "steps": 3},
      "method": {"name": method, **fields},
      "model": {"trunk": {"name": "mlp"}},
      "data": {"strength": 0.5, "sizes": (1, 2)},
    }
  )


def expand(overrides, **hooks):
  return plan.expand(make_config, overrides, traced=lambda config: TRACED, **hooks)


def strengths(values=(0.0, 0.5, 1.0), seeds=range(3), arms=("supervised", "synib")):
  hyper = sweep_file.Hyper
  arms = [{"arm": arm, "config": arm} for arm in arms]
  return hyper.product([arms, hyper.sweep("data.strength", values), hyper.sweep("seed", seeds)])


def measure(config, trial):
  """A number that depends on all that a run is, and not on what it is stacked with."""
  return trial["seed"] + trial["data.strength"] + len(config.method.name) / 1000


class Trainer:
  """Counts what it trains; does what `faults` say, once each: call number -> exception."""

  def __init__(self, faults=None, bad=lambda config, trial: False, *, blames=False):
    self.faults, self.bad, self.blames, self.calls = faults or {}, bad, blames, []

  def __call__(self, config, workdir, trials):
    pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
    self.calls.append((config, workdir, trials))
    if len(self.calls) in self.faults:
      raise self.faults[len(self.calls)]
    blamed = {
      i: f"{trial}: loss = nan" for i, trial in enumerate(trials) if self.bad(config, trial)
    }
    if blamed and self.blames:
      raise NotFinite("; ".join(blamed.values()), blamed)
    if blamed:
      raise FloatingPointError("step 3: not finite: loss = nan (seed 1)")
    return {
      "code": "abc",
      "rows": [
        {
          "trial": trial,
          "seed": trial["seed"],
          "best_step": 7,
          "best_value": 0.5,
          "best": {"test/accuracy": measure(config, trial)},
          "last": {"test/accuracy": 2 * measure(config, trial)},
        }
        for trial in trials
      ],
    }

  @property
  def trained(self):
    return [(config.method.name, *trial.values()) for config, _, t in self.calls for trial in t]


def lines(folder):
  return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
