"""Spurious XOR with the release's hyper-parameters, shortcuts stronger than the label's own included.

  python -m launch.sweep --config=configs/xor.py:supervised,spurious \
    --sweep=configs/sweeps/xor_released.py --workdir=runs/xor_released

84 runs: 7 strengths x 4 arms x 3 seeds (docs/spec/synib_release.md 5.1). Masks are real there, and the
last epoch counts. No numbers of it are published as text; the figure has the oracle at 100 throughout.
"""

STRENGTHS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0)
SEEDS = (0, 1, 2)
ACCURACY = "test/label/accuracy"

_SYNIB = {
  "config": "synib,spurious",
  "optim.lr": 3e-4,
  "optim.weight_decay": 1e-5,
  "method.penalty": 10.0,
}
ARMS = (
  {
    "arm": "vanilla", "config": "supervised,spurious",
    "optim.lr": 1e-2, "optim.weight_decay": 1e-3,
  },
  {"arm": "oracle", "method.mask": "oracle", **_SYNIB},
  {"arm": "random", "method.mask": "random", "method.corrupt_probability": 0.4, **_SYNIB},
  {
    "arm": "learned", "method.mask": "learned", "method.mask_lr": 3.0,
    "method.mask_sparsity": 0.03, "method.mask_initial_logit": -4.0,
    "method.penalty_ramp_epochs": 20.0, **_SYNIB,
  },
)  # fmt: skip


def get_hyper(hyper):
  """Returns the rows."""
  return hyper.product([ARMS, hyper.sweep("data.strength", STRENGTHS), hyper.sweep("seed", SEEDS)])


def get_report():
  """Describes the table and the figure."""
  return {
    "title": "Spurious XOR, the release's hyper-parameters",
    "metrics": {ACCURACY: "test accuracy (%)"},
    "plots": [
      {
        "name": "accuracy_last",
        "kind": "curve",
        "x": "data.strength",
        "xlabel": "strength of the shortcut in training (absent in test)",
        "line": "arm",
        "metric": ACCURACY,
        "which": "last",
        "chance": 0.5,
      }
    ],
  }
