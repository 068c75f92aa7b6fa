"""SynIB's Table 2: eight methods and their controls, 3 seeds, on the test split and its synergy subset.

  python -m launch.sweep --sweep=configs/sweeps/synib_table2.py:mosi --workdir=runs/table2_mosi

`--sweep=configs/sweeps/synib_table2.py:DATASET[:TRUNK][:CONFIGURATIONS]`, without --config. DATASET is
mosi, mustard or urfunny (vision and text; `mosi,tiny` with small encoders, for fixtures), hateful_memes
(frozen towers, whose features are computed once; `hateful_memes,finetuned`: they learn), a folder of own
arrays, or a name of configs/open.py (htad, htad_match, ...; read from data/NAME). TRUNK is mlp (default,
the published one of SynIB, for every method), additive (that of the others) or transformer (default of
hateful_memes); ReconBoost and the ensemble are additive by definition. On own data its widths are of
configs/arrays.py.
CONFIGURATIONS is how many of its grid every method tries (default 20; "all": whole grids of different
sizes): the default first, then others in an order drawn once for all. The best by validation
accuracy stands in the table, with how many were tried.

Rows named after a modality are the unimodal models, trained once a seed: they define the synergy subset
(`synjax.sweeps.judges`), their mean is the Ensemble. "Vanilla" is one configuration, "Vanilla, tuned" as
many as the others. Every method starts from scratch (published: SynIB, vanilla and MCR from the unimodal
models). Grids: docs/spec/synib.md 5.3; for other methods, which have none there, their own strengths
crossed with learning rates. `--config.FIELD=VALUE` holds for all rows (`--config.data.data_dir=D`,
`--config.num_seeds=5`, `--config.total_epochs=2`); learning rates are multiples of config.optim.lr.
"""

import itertools
import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from configs import hateful_memes, published_synib
from configs.methods import require
from configs.multibench import TINY
from configs.sweeps import datasets
from configs.sweeps.datasets import Dataset

SEEDS, CONFIGURATIONS = 3, 20
TRUNKS = ("mlp", "additive", "transformer")
# docs/spec/synib.md 5.3; the weight decay of unimodal models is that of each modality.
_AFFECT = {
  "optim.name": "adam",
  "optim.lr": 5e-4,
  "optim.weight_decay": 1e-3,
  "optim.eps": 1e-7,
  "batch_size": 32,
  "optim.schedule": "constant_restarts",
  "early_stop_patience": 30,
  "early_stop_metrics": ("val/label/accuracy", "-val/label/cross_entropy"),
  "model.normalize_features": True,
  "select_metric": "val/label/accuracy",
}
DATASETS = {
  "mosi": _AFFECT,
  "mustard": _AFFECT,
  "urfunny": _AFFECT | {"optim.lr": 1e-3},
  "hateful_memes": {},  # its config has them
}
PRESETS = dict.fromkeys(DATASETS, ("2", TINY)) | {"hateful_memes": hateful_memes.PRESETS}
_OWN = {"select_metric": "val/label/accuracy"}
UNIMODAL_DECAY = {
  **dict.fromkeys(("mosi", "mustard"), {"vision": 1e-5, "text": 1e-4}),
  "urfunny": {"vision": 1e-4, "text": 1e-3},
}
_LR = ("optim.lr", (1.0, 0.1, 0.3, 3.0, 10.0))  # times config.optim.lr
_DECAY = ("optim.weight_decay", (1.0, 0.01, 0.1, 10.0, 100.0))
_PENALTY = ("method.penalty", (0.1, 1e-3, 1e-2, 1.0))
FACTORS = (_LR[0], _DECAY[0])


class Arm(NamedTuple):
  """A method of the table.

  Attributes:
    method: its name.
    grid: field -> values that are tried, the default's first.
    fields: of all its configurations.
    has_default: False: the grid's first point is a row of its own elsewhere, and left out here.
  """

  method: str
  grid: tuple[tuple[str, tuple], ...] = ()
  fields: Mapping[str, Any] = {}
  has_default: bool = True


def _at_least(times: int, field: str):
  """Returns the method's number of epochs, less where a run would see fewer than so many of it.

  Runs on large own data are short: what begins after them would be no method, and its grid one run.
  """

  def fit(config) -> int:
    epochs = math.inf if config.total_epochs is None else config.total_epochs
    return int(max(1, min(config.method[field], epochs // times)))

  return fit


_RANDOM = (_PENALTY, ("method.corrupt_probability", (0.5, 0.1, 0.3, 0.7, 0.9)))
_SPARSITY = (1.0, 1e-2, 1e-1, 5.0, 10.0, 1e-3, 3.0)
ARMS = {
  "Vanilla": Arm("supervised"),
  "D&R": Arm(
    "diagnose_relearn",
    (("method.strength", (3.0, 0.5, 1.0, 5.0)), _LR),
    {"method.relearn_every": _at_least(4, "relearn_every")},
  ),
  "MMPareto": Arm("mmpareto", (("method.gamma", (1.5, 0.8, 1.0, 2.0)), _LR)),
  "ReconBoost": Arm(
    "reconboost",
    (("method.alpha", (0.5, 0.25, 0.8, 1.0)), _LR),
    {f"method.{turn}_epochs": _at_least(16, f"{turn}_epochs") for turn in ("boosting", "ensemble")},
  ),
  "MCR": Arm(
    "mcr",
    (
      ("method.mipd_weight", (0.1, 1e-3, 1e-2, 1.0)),
      ("method.contrast_weight", (0.1, 0.01, 0.3, 1.0, 3.0)),
    ),
  ),
  "SynIB, random": Arm("synib", _RANDOM, {"method.mask": "random"}),
  "SynIB, learned": Arm(
    "synib", (_PENALTY, ("method.mask_sparsity", _SPARSITY)), {"method.mask": "learned"}
  ),
  "Confidence penalty": Arm("confidence_penalty", (_PENALTY, _LR)),
  "Full corruption": Arm("full_corruption", (_PENALTY, _LR)),
  "Vanilla, tuned": Arm("supervised", (_DECAY, _LR), has_default=False),
}
ADDITIVE = ("reconboost",)  # by definition
# What was published for a dataset, where it is not the grid's first (docs/spec/synib_release.md 2). Its
# objective of SynIB has both masks in every row; a row's name says whose strength it tries.
DEFAULTS = {
  "hateful_memes": {
    "SynIB, random": {"method.penalty": 0.01, "method.corrupt_probability": 0.3},
    "SynIB, learned": {"method.penalty": 0.01, "method.mask_sparsity": 0.1},
    "D&R": {"method.strength": 1.0},
    "MMPareto": {"method.gamma": 1.0},
  }
}


class Asked(NamedTuple):
  """What the argument asks for: the dataset, the trunk, how many configurations (None: whole grids)."""

  dataset: Dataset
  trunk: str
  configurations: int | None


def read(argument: str, *, trunks: bool = True, counts: bool = True) -> Asked:
  """Reads DATASET and, for sweeps that take them, the options behind it.

  Args:
    argument: of the sweep.
    trunks: a trunk can be typed.
    counts: a number of configurations can be typed.

  Raises:
    ValueError: there is no such dataset, or an option that this sweep does not take.
  """
  typed, *options = argument.split(":")
  dataset = datasets.find(typed, PRESETS)
  trunk = "transformer" if dataset.file == "hateful_memes" else TRUNKS[0]
  configurations = CONFIGURATIONS
  for option in options:
    if counts and option.isdecimal() and int(option) > 0:
      configurations = int(option)
    elif counts and option == "all":
      configurations = None
    else:
      parts = ("a trunk",) * trunks + ("a number of configurations, or all",) * counts
      taken = f"--sweep: {', '.join(parts) or 'nothing'} behind {typed}"
      require(taken, option, TRUNKS if trunks else ())
      trunk = option
  return Asked(dataset, trunk, configurations)


def get_flags(argument: str) -> list[str]:
  """Returns the flags of a command that has no --config; what is typed beside them holds."""
  dataset = read(argument).dataset
  fields = {"num_seeds": SEEDS, **DATASETS.get(dataset.file, _OWN)}
  if dataset.preset == hateful_memes.FROZEN:
    fields["data.cache_features"] = True
  config = f"--config=configs/{dataset.file}.py:{dataset.argument('supervised')}"
  return [config, *(f"--config.{field}={value}" for field, value in fields.items())]


def get_hyper(hyper, argument: str):
  """Returns the rows: unimodal models, their mean, and every configuration of every method."""
  asked = read(argument)
  rows = [
    *unimodal_rows(asked.dataset),
    {"arm": "Ensemble", "role": "ensemble", "config": "ensemble"},
  ]
  for label, arm in arms_of(asked.dataset).items():
    common = {"arm": label, "config": arm.method, **arm.fields, **set_trunk(asked, arm.method)}
    rows += hyper.product([[common], configurations(arm, asked.configurations)])
  return [
    row | {"config": asked.dataset.argument(row["config"]), "evaluators": with_predictions}
    for row in rows
  ]


def arms_of(dataset: Dataset) -> dict[str, Arm]:
  """Returns the methods with the grids and defaults of a dataset."""
  own = DEFAULTS.get(dataset.file, {})
  found = {}
  for label, arm in ARMS.items():
    first = own.get(label, {})
    grid = tuple((name, _lead(values, first.get(name))) for name, values in arm.grid)
    fields = {k: v for k, v in arm.fields.items() if not own or k != "method.mask"}
    found[label] = arm._replace(grid=grid, fields=fields)
  return found


def _lead(values: tuple, first: Any) -> tuple:
  """Returns the values with one of them first, if it is there."""
  return tuple(sorted(values, key=lambda value: value != first))


def unimodal_rows(dataset: Dataset) -> list[dict]:
  """Returns the rows of the models of each modality."""
  decay = UNIMODAL_DECAY.get(dataset.file, {})
  return [
    {"arm": name, "role": "unimodal", "config": "unimodal", "method.modality": name}
    | ({"optim.weight_decay": decay[name]} if name in decay else {})
    for name in dataset.modalities()
  ]


def with_predictions(config) -> tuple[str, ...]:
  """Returns the evaluators of a config and `predictions`, by which rows are judged."""
  return (*config.evaluators, "predictions")


def set_trunk(asked: Asked, method: str) -> dict:
  """Returns the fields of the trunk of a method that has one."""
  if method in ADDITIVE:
    return {}
  published = asked.dataset.file in DATASETS and asked.trunk == "mlp"
  mlp = {"model.trunk.hidden": (64,), "model.trunk.dropout": 0.1}
  return {"model.trunk.name": asked.trunk} | (mlp if published else {})


def configurations(arm: Arm, count: int | None) -> list[dict]:
  """Returns the first `count` points of an arm's grid (None: all), the default first.

  Raises:
    ValueError: the grid has fewer, so that methods would not be compared at equal numbers.
  """
  names = [name for name, _ in arm.grid]
  if not names:
    return [{}]
  points = list(itertools.product(*(values for _, values in arm.grid)))
  order = [0, *(1 + np.random.default_rng(0).permutation(len(points) - 1))]
  order = order if arm.has_default else order[1:]
  if count is not None and count > len(order):
    raise ValueError(
      f"--sweep: expected at most {len(order)} configurations, all of {arm.method} over"
      f" {', '.join(names)}, found {count}; or all: every method's whole grid"
    )
  order = order[:count]
  return [dict(zip(names, map(_value, names, points[i]), strict=True)) for i in order]


def _value(name: str, value):
  """Returns the value of a field, of a factor a function of the config."""
  if name not in FACTORS:
    return value
  *_, last = name.split(".")
  return lambda config: float(f"{value * config.optim[last]:.6g}")


def get_report(argument: str):
  """Describes the table and the figure."""
  tasks = (published_synib.TASKS.get(read(argument).dataset.file, "label"),)
  return {
    "title": f"{argument}: SynIB's Table 2",
    "comparison": {
      "choose": True,
      "published": published_synib.ROWS,
      "columns": [
        {"title": "synergy subset (%)", "tasks": tasks, "metric": "synergy_subset/accuracy"},
        {"title": "whole test (%)", "tasks": tasks, "metric": "accuracy"},
      ],
    },
    "plots": [{"name": "methods", "kind": "methods"}],
  }
