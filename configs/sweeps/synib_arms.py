"""SynIB on real data as it was really run, and the arms that nobody ran.

  python -m launch.sweep --sweep=configs/sweeps/synib_arms.py:mosi --workdir=runs/synib_arms_mosi \
    --config.initialize_from=runs/mosi_unimodal

`--sweep=configs/sweeps/synib_arms.py:DATASET`, without --config; DATASET is mosi, urfunny or mustard,
with the values of its published rows (docs/spec/synib_release.md 2), or a folder of own arrays or a name
of configs/open.py, with MOSI's. 36 runs: 12 arms x 3 seeds, on the MLP trunk, with the published schedule
and rule to stop.
`released, random` and `released, learned` are the two published rows: both have both branches and differ
in lambda, p and the price of flags alone. All others change one thing of the first; `paper` arms are
those of the paper's text. Without initialize_from the encoders start from scratch, unlike the
published ones.
"""

from typing import Any

from configs.sweeps import datasets
from configs.sweeps.synib_table2 import PRESETS

SEEDS = (0, 1, 2)
# What `method.variant=released_...` sets, for the trunk that is used here.
RELEASED = {
  "mask": "both",
  "site": "latent",
  "fill": "shuffle",
  "donors_learn": True,
  "learned_fill": "ema",
  "gates": "soft",
  "corrupts": "flagged",
  "mask_clip": 1.0,
  "mask_warmup_epochs": 0.0,
  "mask_collapse_share": 1.0,
  "learned_updates_encoders": False,
}
PENALTIES = {
  "released_symmetric": {"family": "gaussian_logits"},
  "released_anchor": {"reference": "unimodal", "anchor": "corrupted", "direction": "r||q"},
}
CANONICAL = {"family": "categorical", "reference": "uniform", "direction": "q||r"}
# dataset -> variant, learning rate, then lambda, p and the price of flags of the two rows.
ROWS = {
  "mosi": ("released_anchor", 5e-4, (0.1, 0.3, 1.0), (100.0, 0.5, 0.1)),
  "urfunny": ("released_symmetric", 1e-3, (0.001, 0.7, 1.0), (1.0, 0.5, 0.01)),
  "mustard": ("released_symmetric", 5e-4, (0.001, 0.1, 1.0), (1.0, 0.5, 10.0)),
}
CHANGES: dict[str, dict[str, Any]] = {  # of the released objective
  "canonical KL(q || uniform)": CANONICAL,
  "KL(q || class prior)": CANONICAL | {"reference": "class_prior"},
  "KL(q || intact EMA anchor)": CANONICAL | {"reference": "ema_unimodal", "anchor": "intact"},
  "random branch alone": {"mask": "random"},
  "learned branch alone": {"mask": "learned"},
  "complement mask": {"corrupts": "complement"},
  "hard gates": {"gates": "hard"},
  "complement mask, hard gates": {"corrupts": "complement", "gates": "hard"},
}
ANCHORED = ("unimodal", "ema_unimodal")  # references that have an anchor
ACCURACY = "test/label/accuracy"


def _read(argument: str) -> datasets.Dataset:
  return datasets.find(argument, dict.fromkeys(ROWS, PRESETS))


def _row(dataset: datasets.Dataset) -> tuple:
  return ROWS.get(dataset.file, ROWS["mosi"])


def get_flags(argument: str) -> list[str]:
  """Returns the flags of a command that has no --config; what is typed beside them holds."""
  dataset = _read(argument)
  flags = {
    "model.trunk.name": "mlp", "model.trunk.hidden": "(64,)", "model.trunk.dropout": 0.1,
    "model.normalize_features": True, "optim.name": "adam", "optim.eps": 1e-7,
    "optim.lr": _row(dataset)[1], "optim.weight_decay": 1e-3,
    "optim.schedule": "constant_restarts", "batch_size": 32, "total_epochs": 100.0,
    "early_stop_patience": 29, "select_metric": "val/label/accuracy",
    "early_stop_metrics": "('-val/label/cross_entropy', 'val/label/accuracy')",
  }  # fmt: skip
  typed = [f"--config.{field}={value}" for field, value in flags.items()]
  return [f"--config=configs/{dataset.file}.py:{dataset.argument('synib')}", *typed]


def arms(argument: str) -> list[dict[str, Any]]:
  """Returns the arms of a dataset: "arm" and the fields of the method."""
  variant, _, random, learned = _row(_read(argument))

  def arm(name, values, **fields):
    rates = dict(zip(("penalty", "corrupt_probability", "mask_sparsity"), values, strict=True))
    found = rates | fields
    if found.get("mask", "random") == "learned":
      del found["corrupt_probability"]
    elif found.get("mask") == "random" or "mask" not in found and "variant" not in found:
      del found["mask_sparsity"]
    return {"arm": name} | {f"method.{field}": value for field, value in found.items()}

  rows = [
    arm("released, random", random, variant=variant),
    arm("released, learned", learned, variant=variant),
  ]
  for name, change in CHANGES.items():
    fields = RELEASED | PENALTIES[variant] | change
    rows.append(arm(name, random, **_that_matter(fields)))
  rows.append(arm("paper, random", random, mask="random"))
  return [*rows, arm("paper, learned", learned, mask="learned")]


def _that_matter(fields: dict[str, Any]) -> dict[str, Any]:
  """Leaves out what the others switch off, which a row must not set."""
  out = set()
  if fields["mask"] == "random":
    out |= {"learned_fill", "gates", "corrupts", "mask_clip", "learned_updates_encoders"}
    out |= {"mask_warmup_epochs", "mask_collapse_share"}
  if fields["mask"] == "learned":
    out |= {"fill", "donors_learn"}
  if fields.get("family") == "gaussian_logits":
    out |= {"reference", "direction"}
  if fields.get("reference") not in ANCHORED or "reference" in out:
    out.add("anchor")
  return {field: value for field, value in fields.items() if field not in out}


def get_hyper(hyper, argument: str):
  """Returns the rows."""
  return hyper.product([arms(argument), hyper.sweep("seed", SEEDS)])


def get_report(argument: str):
  """Describes the table."""
  return {"title": f"SynIB's arms on {argument}", "metrics": {ACCURACY: "test accuracy (%)"}}
