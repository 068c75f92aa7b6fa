"""A dataset's table: methods in rows, baselines and published numbers beside them, means over seeds.

  python -m launch.sweep --sweep=configs/sweeps/table.py:htad --workdir=runs/table_htad

`--sweep=configs/sweeps/table.py:DATASET[:METHODS]`, without --config. DATASET is a name of
configs/open.py (htad, htad_match, mfeat, mfeat_six; read from data/NAME), a folder of own arrays, or a
config file's name and preset (mosi; mosi,3; vision_touch,cp2; trifeature; trifeature,small; xor,pid).
METHODS are names joined by commas, such as infmasking,comm; by default those of `METHODS` for which there
are modalities. 5 seeds, those of a method in one program; `--config.num_seeds=3` and any other
`--config.FIELD=VALUE` hold for all rows (`--config.data.data_dir=D`, `--config.protocol=paper`,
`--config.total_epochs=2`).

Trifeature in full size has the paper's two kinds of pairs, unbiased for redundancy and uniqueness, biased
for synergy: two runs a method. Its labelled methods learn one task each, four runs on unbiased pairs, and
are trained where METHODS names them only. `finetune` goes on from a run that is there already, seed by
seed: a table of its own, `table.py:DATASET:finetune` with `--config.initialize_from=W`.
"""

from typing import NamedTuple

from configs import published
from configs.methods import learns_from_labels, require
from configs.sweeps import datasets
from configs.sweeps.datasets import Dataset

METHODS = {  # in the order of the table: what papers call them
  "infmasking": "InfMasking",
  "comm": "CoMM",
  "cross": "Cross",
  "cross_self": "Cross+Self",
  "simclr": "SimCLR",
  "factorcl": "FactorCL",
  "mae": "MAE",
  "supervised": "Supervised",
  "synib": "SynIB",
}
OTHERS = {
  "cmc": "CMC",
  "clip": "CLIP",
  "slip": "SLIP",
  "supcon": "SupCon",
  "factorcl_sup": "FactorCL-SUP",
  "finetune": "Fine-tuned",
  "unimodal": "Unimodal",
  "ensemble": "Ensemble",
  "full_corruption": "Full corruption",
  "confidence_penalty": "Confidence penalty",
  "masked_augmentation": "Masked augmentation",
  "multi_loss": "Multi-loss",
  "ogm_ge": "OGM-GE",
  "mmpareto": "MMPareto",
  "mcr": "MCR",
  "reconboost": "ReconBoost",
  "diagnose_relearn": "Diagnosing & Re-learning",
}
SEEDS = 5
FILES = ("mosi", "mosei", "urfunny", "mustard", "mimic", "vision_touch", "trifeature", "xor")
_PAIRS = ("cross", "cross_self")  # of two modalities or more
_TWO = ("factorcl",)  # of two and no more
_XOR = ("supervised", "ensemble", "confidence_penalty", "full_corruption", "synib")
_TRIFEATURE = published.ROWS["trifeature"]
_PUBLISHED_PAIRS = ("trifeature", "trifeature,full")


class _Asked(NamedTuple):
  """What the argument asks for: the dataset, and methods in the order of the table."""

  dataset: Dataset
  methods: tuple[str, ...]


def _read(argument: str) -> _Asked:
  typed, _, methods = argument.partition(":")
  asked = _Asked(
    datasets.find(typed, dict.fromkeys(FILES, ())), tuple(filter(None, methods.split(",")))
  )
  for method in asked.methods:
    require("--sweep: a method of the table", method, METHODS | OTHERS)
  return asked if asked.methods else asked._replace(methods=_defaults(asked.dataset))


def _defaults(dataset: Dataset) -> tuple[str, ...]:
  """Returns the methods of `METHODS` for which a dataset has modalities and labels."""
  if dataset.file == "xor":
    return _XOR
  count = len(dataset.modalities())
  unlabelled = (
    dataset.file == "trifeature"
    or dataset.file == "vision_touch"
    and dataset.preset in ("", "ee")
    or dataset.file == "arrays"
    and not dataset.has_classes()
  )
  return tuple(
    method
    for method in METHODS
    if not (unlabelled and learns_from_labels(method))
    and not (method in _TWO and count != 2)
    and not (method in _PAIRS and count < 2)
  )


def get_flags(argument: str) -> list[str]:
  """Returns the flags of a command that has no --config; what is typed beside them holds."""
  asked = _read(argument)
  config = f"configs/{asked.dataset.file}.py:{asked.dataset.argument(asked.methods[0])}"
  return [f"--config={config}", f"--config.num_seeds={SEEDS}"]


def get_hyper(hyper, argument: str):
  """Returns the rows."""
  asked = _read(argument)
  rows = []
  for method in asked.methods:
    row = {"arm": (METHODS | OTHERS)[method], "config": asked.dataset.argument(method)}
    if asked.dataset.file != "xor":  # which makes examples for every trial
      row["evaluators"] = _add_baselines
    rows += hyper.product([[row], _settings(hyper, asked, method)])
  return rows


def _add_baselines(config) -> tuple[str, ...]:
  return tuple(dict.fromkeys((*config.evaluators, "baselines")))


def _settings(hyper, asked: _Asked, method: str) -> list[dict]:
  """Returns the runs that a row of the table is made of, but for the seeds."""
  if asked.dataset.file == "trifeature" and learns_from_labels(method):
    tasks = hyper.sweep("data.task", _TRIFEATURE.classes)
    return hyper.product([tasks, [{"data.biased": False}]])
  return (
    hyper.sweep("data.biased", (False, True)) if asked.dataset.typed in _PUBLISHED_PAIRS else [{}]
  )


def get_report(argument: str):
  """Describes the table and the figure."""
  asked = _read(argument)
  comparison = {"published": published.ROWS}
  if asked.dataset.typed in _PUBLISHED_PAIRS:
    comparison["columns"] = [
      {"title": f"{title} (%)", "tasks": column.tasks, "where": column.setting}
      for title, column in _TRIFEATURE.columns.items()
    ]
  if asked.dataset.file == "xor":
    parts = {"accuracy": "accuracy"}
    parts |= {"synergy examples": "synergy/accuracy"} if asked.dataset.preset == "pid" else {}
    comparison["columns"] = [
      {"title": f"{title} (%)", "tasks": ("label",), "metric": metric}
      for title, metric in parts.items()
    ]
  return {
    "title": f"{asked.dataset.typed}: methods",
    "comparison": comparison,
    "plots": [{"name": "methods", "kind": "methods"}],
  }
