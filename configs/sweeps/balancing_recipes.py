"""Methods that balance modalities, each by its published recipe: optimizer, schedule, strengths, variant.

  python -m launch.sweep --sweep=configs/sweeps/balancing_recipes.py:mosi --workdir=runs/recipes_mosi

`--sweep=configs/sweeps/balancing_recipes.py:DATASET`, without --config; DATASET as in
configs/sweeps/synib_table2.py (mosi, mustard, urfunny, a folder, htad, ...). 3 seeds, the published
additive trunk throughout, every arm from scratch. `official` arms are of the methods' own code
(docs/spec/baselines.md 5.2 to 5.6: CREMA-D's values where there are several, MCR's of MOSI), `released`
ones SynIB's (docs/spec/synib_release.md 1; its learning rates and schedule, those of Table 2).
Official values that a dataset of another kind cannot have are left out: pre-trained encoders,
the choice of the epoch on test data. ReconBoost's official 1,000 stages are cut by the dataset's epochs.
Table 2 has the same methods by their papers, at one budget.
"""

from typing import Any

from configs.sweeps import synib_table2

_ADDITIVE = {"model.trunk.name": "additive"}
# What SGD and its constant schedule do not read is at its default, whatever the dataset sets.
_SGD = {
  "optim.name": "sgd", "optim.momentum": 0.9, "optim.eps": 1e-8, "optim.schedule": "constant",
  "early_stop_patience": None, "early_stop_metrics": (), "batch_size": 64,
}  # fmt: skip


def _official(lr: float, decay: float, epochs: float | None = None, **fields: Any) -> dict:
  values = _SGD | {"optim.lr": lr, "optim.weight_decay": decay}
  return values | ({} if epochs is None else {"total_epochs": epochs}) | fields


ARMS: dict[str, tuple[str, dict]] = {  # label -> method, its fields
  "Vanilla, OGM-GE's recipe": (
    "supervised",
    _official(1e-3, 1e-4, 100.0, **{"method.unimodal_weight": 0.0}),
  ),
  "OGM-GE, official": (
    "ogm_ge",
    _official(1e-3, 1e-4, 100.0, **{"method.variant": "official", "method.alpha": 0.8}),
  ),
  "OGM-GE, every matrix": (
    "ogm_ge",
    _official(1e-3, 1e-4, 100.0, **{"method.alpha": 0.8}),
  ),
  "MMPareto, official": ("mmpareto", _official(2e-3, 1e-4, 50.0, **{"method.gamma": 1.5})),
  "D&R, official": (
    "diagnose_relearn",
    _official(2e-3, 1e-4, 90.0, **{"method.strength": 3.0, "method.relearn_every": 20}),
  ),
  "ReconBoost, official": (
    "reconboost",
    _official(1e-2, 5e-4, **{"method.variant": "official"}),
  ),
  "MCR, official": (
    "mcr",
    {
      "optim.name": "adam", "optim.lr": 1e-4, "batch_size": 32, "method.mipd_weight": 1e-3,
      "method.unimodal_weight": 1e-3, "method.contrast_weight": 1.0,
    },
  ),
  "OGM-GE, released: vanilla": ("ogm_ge", {"method.variant": "released"}),
  "MMPareto, released": ("mmpareto", {"method.gamma": 1.5}),
  "D&R, released": (
    "diagnose_relearn", {"method.variant": "released", "method.relearn_every": 10},
  ),
  "ReconBoost, released": ("reconboost", {"method.variant": "released"}),
  "MCR, released: multi-loss": ("mcr", {"method.variant": "released"}),
}  # fmt: skip


def get_flags(argument: str) -> list[str]:
  """Returns the flags of a command that has no --config; what is typed beside them holds."""
  return synib_table2.get_flags(argument)


def get_hyper(hyper, argument: str):
  """Returns the rows: unimodal models, which the synergy subset needs, and every recipe."""
  dataset = synib_table2.read(argument, trunks=False, counts=False).dataset
  rows = list(synib_table2.unimodal_rows(dataset))
  for label, (method, fields) in ARMS.items():
    trunk = {} if method in synib_table2.ADDITIVE else _ADDITIVE
    rows.append({"arm": label, "config": method, **trunk, **fields})
  evaluators = {"evaluators": synib_table2.with_predictions}
  return [row | {"config": dataset.argument(row["config"])} | evaluators for row in rows]


def get_report(argument: str):
  """Describes the table and the figure: those of Table 2, without its published numbers."""
  report = synib_table2.get_report(argument)
  comparison = {name: value for name, value in report["comparison"].items() if name == "columns"}
  return report | {"title": f"{argument}: published recipes", "comparison": comparison}
