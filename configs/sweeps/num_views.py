"""Accuracy, time and memory against K, the number of InfMasking's masked views, for any of its configs.

  python -m launch.sweep --config=configs/trifeature.py:infmasking,small \
    --sweep=configs/sweeps/num_views.py --workdir=runs/num_views --config.num_seeds=3

8 runs a seed; seeds of one K are trained together. A K that does not fit into memory becomes a failed row
and the others go on. The paper says 6 to 10 views suffice, its scripts use 4 to 6; no published numbers
for each K. For time and memory alone: --config.total_epochs=1.
"""

from configs.sweeps.mask_ratio import ACCURACY, COSTS

NUM_VIEWS = (1, 2, 4, 6, 8, 16, 32, 64)


def get_hyper(hyper):
  """Returns the rows."""
  return hyper.sweep("method.num_views", NUM_VIEWS)


def get_report():
  """Describes the table and the figures."""
  return {
    "title": "Number of masked views K",
    "metrics": {ACCURACY: "<task> (%)"},
    "costs": list(COSTS),
    "plots": [
      {
        "name": name,
        "kind": "ablation",
        "x": "method.num_views",
        "xlabel": "masked views K",
        "log2": True,
        "metrics": [ACCURACY],
        "costs": list(COSTS),
        "which": which,
        "chance": "measured",
      }
      for name, which in (("num_views", "best"), ("num_views_last", "last"))
    ],
  }
