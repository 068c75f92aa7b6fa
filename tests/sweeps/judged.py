"""Rows that are judged by unimodal rows, and a trainer that only pretends to predict."""

import pathlib
import zlib

import numpy as np
from ml_collections import ConfigDict

from synjax.sweeps import file as sweep_file
from synjax.sweeps import judges, plan
from synjax.workdir import arrays

MODALITIES = ("x1", "x2")
EXAMPLES = 90
LABEL = np.arange(EXAMPLES) % 2


def make_config(argument=None):
  method = argument or "supervised"
  config = {
    "seed": 42,
    "num_seeds": 1,
    "evaluators": ("classification", "predictions"),
    "select_metric": "val/label/macro_accuracy",
    "optim": {"lr": 1e-3},
    "method": {"name": method} | ({"modality": ""} if method == "unimodal" else {}),
    "model": {"modalities": dict.fromkeys(MODALITIES, {})},
    "data": {"name": "mine"},
  }
  return ConfigDict(config)


UNIMODAL = [
  {"arm": name, "config": "unimodal", "role": "unimodal", "method.modality": name}
  for name in MODALITIES
]
MEAN = {"arm": "mean", "config": "ensemble", "role": "ensemble"}
FUSED = {"arm": "fused", "config": "supervised"}


def expand(arms, seeds=(0, 1, 2), reads=None):
  overrides = sweep_file.Hyper.product([arms, sweep_file.Hyper.sweep("seed", seeds)])
  rows = plan.expand(
    make_config,
    overrides,
    traced=lambda config: ["optim.lr"],
    inspect=lambda config: reads or {"data": "0123"},
  )
  return judges.attach(rows)


def logits(method, seed, modality=""):
  """What a model predicts: noise with a little of the label, by its name and seed."""
  rng = np.random.default_rng(zlib.crc32(f"{method}{modality}{seed}".encode()))
  return rng.normal(size=(EXAMPLES, 2)) + np.eye(2)[LABEL] / 2


class Trainer:
  """Counts what it trains; `faults`: number of the call -> exception."""

  def __init__(self, faults=None, label=LABEL):
    self.faults, self.label, self.calls = faults or {}, label, []

  def __call__(self, config, workdir, trials):
    pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)
    seeds = [trial["seed"] for trial in trials]
    name = config.method.get("modality", "")
    self.calls.append((config.method.name, name, tuple(seeds)))
    if len(self.calls) in self.faults:
      raise self.faults[len(self.calls)]
    values = np.stack([logits(config.method.name, seed, name) for seed in seeds])
    found = {"seeds": np.array(seeds)}
    for split in ("val", "test"):
      found |= {f"{split}/label": np.stack([self.label] * len(seeds)), f"{split}/logits": values}
      if name:
        found |= {"members": np.array([name]), f"{split}/unimodal": values[:, :, None]}
    arrays.write(pathlib.Path(workdir) / "predictions.npz", found)
    scores = {"test/label/accuracy": 0.5}
    rows = [{"seed": seed, "best_value": 0.5, "best": scores, "last": scores} for seed in seeds]
    return {"rows": rows, "select_metric": "val/label/macro_accuracy", "chance": {"label": 0.5}}
