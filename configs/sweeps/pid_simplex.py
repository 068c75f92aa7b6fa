"""PID-controlled XOR over the simplex of unique, redundant and synergistic examples (u2 = 0).

  python -m launch.sweep --config=configs/xor.py:supervised,pid \
    --sweep=configs/sweeps/pid_simplex.py --workdir=runs/pid_simplex

231 points x 7 arms x 3 seeds = 4,851 runs, for a GPU; `--sweep=configs/sweeps/pid_simplex.py:0.25` takes
a coarser step: 15 points; `:0.25:all` has the methods that balance modalities too, 13 arms. Penalised
arms have lambda 10; the paper chose it for each point and seed.
Reference values, over all points of one share of synergy: docs/spec/synib.md 3.3, vanilla, tuned
vanilla and oracle (its "random" and "learned" are runs of a confidence penalty, docs/spec/synib.md
11).
"""

from configs.methods import require
from configs.sweeps.pid_point import ACCURACY, SEEDS, SYNERGY, TUNED, make_arm
from configs.sweeps.spurious_xor import ALL, BALANCING

STEP = 0.05  # between points
MIXTURE = ("data.unique1", "data.redundancy", "data.synergy")
ARMS = (
  make_arm("vanilla", "supervised"),
  TUNED,
  make_arm("confidence_penalty", "confidence_penalty", penalty=10.0),
  make_arm("full_corruption", "full_corruption", penalty=10.0),
  make_arm("random", "synib", mask="random", corrupt_probability=0.5, penalty=10.0),
  make_arm("learned", "synib", mask="learned", penalty=10.0),
  make_arm("oracle", "synib", mask="oracle", penalty=10.0),
)

REFERENCE = {  # share of synergy -> (total, synergy accuracy) of vanilla, tuned vanilla, oracle
  0.05: ((0.965, 0.503), (0.968, 0.570), (0.988, 0.884)),
  0.10: ((0.944, 0.508), (0.976, 0.881), (0.983, 0.937)),
  0.15: ((0.919, 0.499), (0.979, 0.938), (0.984, 0.956)),
  0.20: ((0.895, 0.501), (0.979, 0.953), (0.983, 0.968)),
  0.25: ((0.878, 0.535), (0.982, 0.972), (0.982, 0.971)),
  0.30: ((0.877, 0.607), (0.980, 0.971), (0.985, 0.979)),
  0.35: ((0.911, 0.761), (0.982, 0.978), (0.981, 0.975)),
  0.40: ((0.942, 0.866), (0.979, 0.975), (0.981, 0.978)),
  0.50: ((0.979, 0.964), (0.980, 0.985), (0.981, 0.981)),
  0.60: ((0.987, 0.984), (0.983, 0.987), (0.984, 0.983)),
  0.80: ((0.991, 0.993), (0.987, 0.993), (0.989, 0.993)),
  1.00: ((0.997, 0.997), (0.991, 0.991), (0.996, 0.996)),
}


def make_points(step: float) -> list[dict]:
  """Returns the mixtures of a grid on the simplex, 1 / step a whole number.

  Raises:
    ValueError: a step that does not divide 1.
  """
  n = round(1 / step) if step > 0 else 0
  if n < 1 or abs(n * step - 1) > 1e-6:
    raise ValueError(f"--sweep: expected a step that divides 1, such as 0.25, found {step}")
  return [
    dict(zip(MIXTURE, (i / n, (n - i - k) / n, k / n), strict=True)) | {"data.unique2": 0.0}
    for k in range(n + 1)
    for i in range(n + 1 - k)
  ]


def get_hyper(hyper, argument: float | str = STEP):
  """Returns the rows of a step, or of "STEP:all"; ValueError for anything else."""
  text, _, which = str(argument).partition(":")
  try:
    step = float(text)
  except ValueError as error:
    raise ValueError(
      f"--sweep: expected a step that divides 1, such as 0.25, found {text!r}"
    ) from error
  if which:
    require("--sweep: what follows the step", which, (ALL,))
  arms = (*ARMS, *(make_arm(name, name) for name in BALANCING)) if which else ARMS
  return hyper.product([arms, make_points(step), hyper.sweep("seed", SEEDS)])


def get_report(argument: str = ""):
  """Describes the table and the figures, the same for every argument."""
  del argument
  arms = ("vanilla", "tuned vanilla", "oracle")
  return {
    "title": "PID-controlled XOR, unique 2 = 0",
    "metrics": {ACCURACY: "accuracy (%)", SYNERGY: "synergy accuracy (%)"},
    "table": ["arm", "data.synergy"],
    "reference": [
      {
        "where": {"arm": arm, "data.synergy": share},
        "values": dict(zip((ACCURACY, SYNERGY), values, strict=True)),
        "source": "authors' records, mean over points of that share, docs/spec/synib.md 3.3",
      }
      for share, row in REFERENCE.items()
      for arm, values in zip(arms, row, strict=True)
    ],
    "plots": [
      {
        "name": name,
        "kind": "simplex",
        "fields": list(MIXTURE),
        "labels": ["unique 1", "redundancy", "synergy"],
        "panel": "arm",
        "metric": metric,
        "range": (lowest, 1.0),
      }
      for name, metric, lowest in (
        ("simplex", ACCURACY, 0.85),
        ("simplex_synergy", SYNERGY, 0.5),
      )
    ],
  }
