"""PID-controlled XOR at mixture (u1, u2, r, s) = (.45, 0, .45, .10), every row.

  python -m launch.sweep --config=configs/xor.py:supervised,pid \
    --sweep=configs/sweeps/pid_point.py --workdir=runs/pid_point

33 runs: 11 arms x 3 seeds. Expected, total / synergy accuracy in %: see REFERENCE; full_corruption
has no reference value. "tuned" is vanilla with the learning rate and weight decay that win a search.

`--sweep=configs/sweeps/pid_point.py:all` has the methods that balance modalities too, and masked copies
as plain augmentation (App. G): 57 runs, 19 arms.
"""

from configs.methods import require
from configs.sweeps.spurious_xor import ALL, BALANCING

SEEDS = (0, 1, 2)
ACCURACY = "test/label/accuracy"
SYNERGY = "test/label/synergy/accuracy"
MIXTURE = {
  "data.unique1": 0.45,
  "data.unique2": 0.0,
  "data.redundancy": 0.45,
  "data.synergy": 0.10,
}


def make_arm(name: str, method: str, **fields) -> dict:
  """Returns the overrides of an arm; `fields` are fields of the method."""
  return {"arm": name, "config": f"{method},pid"} | {f"method.{k}": v for k, v in fields.items()}


TUNED = make_arm("tuned vanilla", "supervised") | {"optim.lr": 1e-2, "optim.weight_decay": 1e-3}
ARMS = (
  make_arm("vanilla", "supervised"),
  TUNED,
  make_arm("confidence_penalty, lambda 1", "confidence_penalty", penalty=1.0),
  make_arm("confidence_penalty, lambda 10", "confidence_penalty", penalty=10.0),
  make_arm("full_corruption, lambda 1", "full_corruption", penalty=1.0),
  make_arm("full_corruption, lambda 10", "full_corruption", penalty=10.0),
  make_arm("random, lambda 1", "synib", mask="random", corrupt_probability=0.5, penalty=1.0),
  make_arm("random, lambda 10", "synib", mask="random", corrupt_probability=0.5, penalty=10.0),
  make_arm("learned, lambda 10", "synib", mask="learned", penalty=10.0),
  make_arm("oracle, lambda 10", "synib", mask="oracle", penalty=10.0),
  make_arm("oracle of active samples, lambda 10", "synib", mask="oracle_active", penalty=10.0),
)

_AUGMENTED = "masked_augmentation"
OTHERS = (
  *(make_arm(name, name) for name in BALANCING),
  make_arm(f"{_AUGMENTED}, random", _AUGMENTED, mask="random", corrupt_probability=0.5),
  make_arm(f"{_AUGMENTED}, oracle", _AUGMENTED, mask="oracle"),
)

REFERENCE = {  # arm -> total and synergy accuracy
  "vanilla": (0.935, 0.503),
  "tuned vanilla": (0.970, 0.900),
  "confidence_penalty, lambda 1": (0.959, 0.684),
  "confidence_penalty, lambda 10": (0.978, 0.873),
  "random, lambda 1": (0.903, 0.894),
  "random, lambda 10": (0.974, 0.947),
  "learned, lambda 10": (0.967, 0.942),
  "oracle, lambda 10": (0.978, 0.984),
  "oracle of active samples, lambda 10": (0.978, 0.965),
}


def get_hyper(hyper, argument: str = ""):
  """Returns the rows; with "all" those of `OTHERS` too.

  Raises:
    ValueError: another argument.
  """
  if argument:
    require("--sweep: what follows the file", argument, (ALL,))
  arms = (*ARMS, *OTHERS) if argument else ARMS
  return hyper.product([arms, [MIXTURE], hyper.sweep("seed", SEEDS)])


def get_report(argument: str = ""):
  """Describes the table and the figures, the same for both arguments."""
  del argument
  return {
    "title": "PID-controlled XOR, mixture (.45, 0, .45, .10)",
    "metrics": {ACCURACY: "accuracy (%)", SYNERGY: "synergy accuracy (%)"},
    "reference": [
      {
        "where": {"arm": arm},
        "values": dict(zip((ACCURACY, SYNERGY), values, strict=True)),
        "source": "replica of the paper's setting, docs/spec/synib.md 3.4 (selected step, 3 seeds)",
      }
      for arm, values in REFERENCE.items()
    ],
    "plots": [
      {
        "name": name,
        "kind": "bars",
        "x": "arm",
        "metrics": [ACCURACY, SYNERGY],
        "which": which,
        "chance": 0.5,
      }
      for name, which in (("arms", "best"), ("arms_last", "last"))
    ],
  }
