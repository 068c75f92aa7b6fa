"""Accuracy against InfMasking's mask ratio, for any config of infmasking.

  python -m launch.sweep --config=configs/trifeature.py:infmasking,small \
    --sweep=configs/sweeps/mask_ratio.py --workdir=runs/mask_ratio --config.num_seeds=3

7 runs a seed; seeds of one ratio are trained together. `paper` keeps int(length (1 - ratio)) tokens of a
modality, so that one with few tokens sees the same masks for several ratios, and one with a single token
is always masked. The paper says high ratios, .7 to .8, are needed; no published numbers for each ratio.
"""

RATIOS = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ACCURACY = "test/<task>/macro_accuracy"  # of every task that is probed
COSTS = ("seconds_per_step", "program_bytes")


def get_hyper(hyper):
  """Returns the rows."""
  return hyper.sweep("method.mask_ratio", RATIOS)


def get_report():
  """Describes the table and the figures."""
  return {
    "title": "Mask ratio",
    "metrics": {ACCURACY: "<task> (%)"},
    "costs": list(COSTS),
    "plots": [
      {
        "name": name,
        "kind": "ablation",
        "x": "method.mask_ratio",
        "xlabel": "mask ratio",
        "metrics": [ACCURACY],
        "which": which,
        "chance": "measured",
      }
      for name, which in (("mask_ratio", "best"), ("mask_ratio_last", "last"))
    ],
  }
