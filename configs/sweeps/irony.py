"""SynIB's Table 1: F1 of the class "irony" and macro F1, 4 rates x methods x 3 folds.

  python -m launch.sweep --sweep=configs/sweeps/irony.py:htad --workdir=runs/irony

`--sweep=configs/sweeps/irony.py:DATASET[:TRUNK]`, without --config. DATASET is cremad (published;
`--config.data.data_dir=D`), that of configs/sweeps/synib_table2.py (a folder, htad, mosi, mustard,
urfunny), or pid_xor: redundant classes, each modality showing them. Some examples get the first modality
of another one whose class contradicts theirs (`synjax.data.irony`). A fold is a seed of the models and of
the changed examples (published: 109, 19, 337), of cremad also its own split. Rows named after a modality
are unimodal models, trained once a rate and fold. Published: docs/spec/synib.md 4.7, on CREMA-D alone;
there SynIB and MCR start from the unimodal models, here every method from scratch. The rate 2 is left out
where there are two classes: all examples would be ironic.
"""

import math

from configs import arrays
from configs.sweeps import synib_table2
from configs.sweeps.datasets import OWN, Dataset
from configs.sweeps.synib_table2 import Arm, Asked

RATES = (0.1, 0.5, 1.0, 2.0)
FOLDS = (109, 19, 337)
IRONY_F1, MACRO_F1 = "test/label/irony_f1", "test/label/macro_f1"
PID_XOR, CREMAD = "pid_xor", "cremad"
MADE = {PID_XOR: Dataset(PID_XOR, "xor", "pid"), CREMAD: Dataset(CREMAD, CREMAD, "fold1")}
# Of cremad: learning rates of the unimodal models, and what its config has for starts from those.
_UNIMODAL = {"audio": {"optim.lr": 1e-3}, "video": {"optim.lr": 1e-4}}
_FROM_SCRATCH = {"optim.lr": 1e-4, "optim.weight_decay": 1e-4, "batch_size": 64}
_OF_METHODS = {
  "synib": _FROM_SCRATCH,
  "mcr": _FROM_SCRATCH,
}  # published: fine-tuned unimodal models
# docs/spec/synib.md 4.6
_SYNIB = {
  "method.mask": "random",
  "method.corrupt_probability": 0.2,
  "method.penalty": 1.0,
  "method.reference": "unimodal",
  "method.detach_unimodal": True,
}
ARMS = {
  name: synib_table2.ARMS[name] for name in ("Vanilla", "D&R", "MMPareto", "ReconBoost", "MCR")
} | {"SynIB, random": Arm("synib", fields=_SYNIB)}
_REDUNDANT = {
  "data.unique1": 0.0,
  "data.redundancy": 1.0,
  "data.synergy": 0.0,
  "model.single_logit": False,
}


def _read(argument: str) -> Asked:
  name, _, trunk = argument.partition(":")
  if name not in MADE:
    return synib_table2.read(argument, counts=False)
  synib_table2.require("--sweep: a trunk", trunk or "mlp", synib_table2.TRUNKS)
  return Asked(MADE[name], trunk or "mlp", None)


def get_flags(argument: str) -> list[str]:
  """Returns the flags of a command that has no --config; what is typed beside them holds."""
  dataset = _read(argument).dataset
  if dataset not in MADE.values():
    return [f for f in synib_table2.get_flags(argument) if not f.startswith("--config.num_seeds")]
  own = ["--config.select_metric=val/label/accuracy"] if dataset.file == "xor" else []
  return [f"--config=configs/{dataset.file}.py:{dataset.argument('supervised')}", *own]


def get_hyper(hyper, argument: str):
  """Returns the rows."""
  asked = _read(argument)
  dataset = asked.dataset
  rows = [
    *synib_table2.unimodal_rows(dataset),
    {"arm": "Ensemble", "role": "ensemble", "config": "ensemble"},
  ]
  for label, arm in ARMS.items():
    trunk = synib_table2.set_trunk(asked, arm.method)
    rows.append({"arm": label, "config": arm.method, **arm.fields, **trunk})
  extra = _REDUNDANT if dataset.file == "xor" else {}
  if dataset.file == CREMAD:
    rows = [row | _of_cremad(row) for row in rows]
  rows = [
    row
    | extra
    | {"config": dataset.argument(row["config"]), "evaluators": synib_table2.with_predictions}
    for row in rows
  ]
  rates = tuple(rate for rate in RATES if rate < _num_classes(dataset))
  return hyper.product([rows, hyper.sweep("data.irony", rates), _folds(dataset)])


def _num_classes(dataset: Dataset) -> float:
  """Returns how many classes there are; no limit where own data leave it open."""
  if dataset.file in OWN:
    return arrays.count_classes(dataset.config("unimodal").data.data_dir) or math.inf
  return 6 if dataset.file == CREMAD else 2


def _of_cremad(row: dict) -> dict:
  """Returns what a row on CREMA-D has of its own."""
  own = _UNIMODAL.get(row.get("method.modality", ""), {}) | _OF_METHODS.get(row["config"], {})
  plain = row.get("model.trunk.name", "mlp") != "mlp"  # which have no dropout
  return own | ({"model.trunk.dropout": 0.0} if plain else {})


def _folds(dataset: Dataset) -> list[dict]:
  """Returns the seeds; data that are made for every trial have those of its seed."""
  made = dataset.file == "xor"
  folds = [{"seed": fold} | ({} if made else {"data.irony_seed": fold}) for fold in FOLDS]
  if dataset.file == CREMAD:
    return [fold | {"data.fold": f"fold{i}"} for i, fold in enumerate(folds, start=1)]
  return folds


def get_report(argument: str):
  """Describes the table and the figures."""
  metrics = {
    IRONY_F1: "irony F1 (%)",
    MACRO_F1: "macro F1 (%)",
    "test/label/accuracy": "accuracy (%)",
  }
  names = ("irony_f1", "macro_f1")
  return {
    "title": f"{argument}: irony, SynIB's Table 1",
    "metrics": metrics,
    "table": ["arm", "data.irony"],
    "plots": [
      {
        "name": name,
        "kind": "curve",
        "x": "data.irony",
        "xlabel": "examples made ironic, as a multiple of a class",
        "line": "arm",
        "metric": f"test/label/{name}",
      }
      for name in names
    ],
  }
