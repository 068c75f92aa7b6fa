"""Entangled PID-XOR: the features of every modality rotated, squashed or mixed, every arm on each.

  python -m launch.sweep --config=configs/xor.py:supervised,pid \
    --sweep=configs/sweeps/pid_entangled.py --workdir=runs/pid_entangled

153 runs: 8 maps x 6 arms x 3 seeds, at the mixture of pid_point.py, lambda 10; the last epoch counts
(docs/spec/synib_release.md 5.3). `intact` corrupts nothing: the authors ran it without a map and under
rotation alone. `oracle` corrupts the synergy block of active samples in the basis of the sources, without
a map and where the map can be undone. Their numbers are the references, as total and synergy accuracy.
"""

from configs.sweeps.pid_point import ACCURACY, MIXTURE, SEEDS, SYNERGY, make_arm

MAPS = {
  "none": {},
  "rotation": {"data.mixing": "rotation"},
  "partial": {"data.mixing": "partial"},
  "tanh 1": {"data.mixing": "tanh"},
  "tanh 2": {"data.mixing": "tanh", "data.mixing_scale": 2.0},
  "tanh 4": {"data.mixing": "tanh", "data.mixing_scale": 4.0},
  "mixer 0": {"data.mixing": "mixer"},
  "mixer 1": {"data.mixing": "mixer", "data.mixing_seed": 1},
}
_LEARNED = {"mask": "learned", "penalty": 10.0}
ARMS = (
  make_arm("vanilla", "supervised"),
  make_arm("intact", "confidence_penalty", penalty=10.0),
  make_arm("random", "synib", mask="random", penalty=10.0),
  make_arm("learned", "synib", **_LEARNED, mask_sparsity=1.0),
  make_arm("learned, long loop", "synib", **_LEARNED, mask_sparsity=0.0, mask_steps=100),
  make_arm("whole modality", "full_corruption", penalty=10.0),
)
ORACLE = make_arm("oracle", "synib", mask="oracle_active", penalty=10.0)
UNDONE = ("none", "rotation", "partial")  # maps of which the sources are known
REFERENCE = {  # arm -> total, then synergy accuracy of each map; None: not run or not said
  "vanilla": (
    (0.948, 0.948, 0.949, 0.947, None, None, 0.940, 0.937),
    (0.504, 0.501, 0.504, 0.488, 0.477, 0.477, 0.498, 0.515),
  ),
  "intact": (
    (0.983, 0.989, None, None, None, None, None, None),
    (0.868, 0.911, None, None, None, None, None, None),
  ),
  "oracle": (
    (0.982, 0.987, None, None, None, None, None, None),
    (0.878, 0.920, None, None, None, None, None, None),
  ),
  "random": (
    (0.940, 0.951, 0.932, 0.858, None, None, 0.951, 0.939),
    (0.876, 0.915, 0.883, 0.834, 0.832, 0.820, 0.813, 0.688),
  ),
  "learned": (
    (0.951, 0.953, 0.927, 0.897, None, None, 0.960, 0.932),
    (0.862, 0.845, 0.761, 0.874, 0.745, 0.747, 0.769, 0.662),
  ),
  "learned, long loop": (
    (0.885, 0.936, None, None, None, None, 0.958, None),
    (0.876, 0.889, None, None, None, None, 0.751, None),
  ),
  "whole modality": (
    (0.915, 0.943, None, None, None, None, None, None),
    (0.866, 0.873, None, None, None, None, None, None),
  ),
}


def get_hyper(hyper):
  """Returns the rows."""
  rows = [
    arm | fields | {"arm": f"{name}: {arm['arm']}"}
    for name, fields in MAPS.items()
    for arm in (*ARMS, *((ORACLE,) if name in UNDONE else ()))
  ]
  return hyper.product([rows, [MIXTURE], hyper.sweep("seed", SEEDS)])


def get_report():
  """Describes the table."""
  references = []
  for arm, columns in REFERENCE.items():
    for name, values in zip(MAPS, zip(*columns, strict=True), strict=True):
      known = dict(zip((ACCURACY, SYNERGY), values, strict=True))
      known = {metric: value for metric, value in known.items() if value is not None}
      where = {"arm": f"{name}: {arm}"}
      source = "the authors' runs, docs/spec/synib_release.md 5.3"
      if known:
        references.append({"where": where, "values": known, "which": "last", "source": source})
  return {
    "title": "Entangled PID-XOR, mixture (.45, 0, .45, .10)",
    "metrics": {ACCURACY: "accuracy (%)", SYNERGY: "synergy accuracy (%)"},
    "reference": references,
  }
