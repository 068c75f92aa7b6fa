"""Spurious XOR: test accuracy against the strength of a shortcut, SynIB beside its controls.

  python -m launch.sweep --config=configs/xor.py:supervised,spurious \
    --sweep=configs/sweeps/spurious_xor.py --workdir=runs/spurious_xor

198 runs: 11 strengths x 6 arms x 3 seeds. The shortcut is in training and validation only. Reference
points: docs/spec/verification.md 3.3 (batch 100, 10 seeds; random: p = .5) and docs/spec/synib.md
3.4 (learned). Strength 1: vanilla at chance (50), oracle 100, random and learned in between.

`--sweep=configs/sweeps/spurious_xor.py:all` has the methods that balance modalities too, by what their
papers say, on the same trunk: 396 runs, 12 arms. ReconBoost is additive by definition.
"""

from configs.methods import require

STRENGTHS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SEEDS = (0, 1, 2)
ACCURACY = "test/label/accuracy"

_PENALTY = {"method.penalty": 1.0}
ARMS = (
  {"arm": "vanilla", "config": "supervised,spurious"},
  {
    "arm": "random", "config": "synib,spurious", "method.mask": "random",
    "method.corrupt_probability": 0.5, **_PENALTY,
  },
  {"arm": "learned", "config": "synib,spurious", "method.mask": "learned", **_PENALTY},
  {"arm": "oracle", "config": "synib,spurious", "method.mask": "oracle", **_PENALTY},
  {"arm": "confidence_penalty", "config": "confidence_penalty,spurious", **_PENALTY},
  {"arm": "full_corruption", "config": "full_corruption,spurious", **_PENALTY},
)  # fmt: skip
BALANCING = ("multi_loss", "ogm_ge", "mmpareto", "mcr", "reconboost", "diagnose_relearn")
ALL = "all"  # what an argument says to have them too

_VANILLA = (100, 99.9, 99.0, 94.2, 82.4, 70.3, 59.9, 53.7, 51.4, 50.7, 50.4)
_RANDOM = (100, 100, 100, 99.9, 99.8, 99.4, 98.2, 96.1, 92.0, 86.0, 71.4)
_LEARNED = {0.0: 100, 0.4: 100, 0.8: 100, 1.0: 99}
REFERENCE = {  # arm -> strength -> accuracy in %
  "vanilla": dict(zip(STRENGTHS, _VANILLA, strict=True)),
  "random": dict(zip(STRENGTHS, _RANDOM, strict=True)),
  "learned": _LEARNED,
  "oracle": dict.fromkeys(STRENGTHS, 100),
}


def get_hyper(hyper, argument: str = ""):
  """Returns the rows; with "all" those of the balancing methods too.

  Raises:
    ValueError: another argument.
  """
  if argument:
    require("--sweep: what follows the file", argument, (ALL,))
  balancing = [{"arm": name, "config": f"{name},spurious"} for name in BALANCING]
  arms = [*ARMS, *balancing] if argument else ARMS
  return hyper.product([arms, hyper.sweep("data.strength", STRENGTHS), hyper.sweep("seed", SEEDS)])


def get_report(argument: str = ""):
  """Describes the table and the figure, the same for both arguments."""
  del argument
  return {
    "title": "Spurious XOR",
    "metrics": {ACCURACY: "test accuracy (%)"},
    "reference": [
      {
        "where": {"arm": arm, "data.strength": strength},
        "values": {ACCURACY: percent / 100},
        "which": "last",  # that recipe selects no step
        "source": (
          "replica of the paper's curve, docs/spec/verification.md 3.3 and docs/spec/synib.md 3.4"
        ),
      }
      for arm, curve in REFERENCE.items()
      for strength, percent in curve.items()
    ],
    "plots": [
      {
        "name": name,
        "kind": "curve",
        "x": "data.strength",
        "xlabel": "strength of the shortcut in training (absent in test)",
        "line": "arm",
        "metric": ACCURACY,
        "which": which,
        "chance": 0.5,
      }
      for name, which in (("accuracy", "best"), ("accuracy_last", "last"))
    ],
  }
