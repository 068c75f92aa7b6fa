"""InfMasking's loss terms on and off, for any config of infmasking, and CoMM beside it.

  python -m launch.sweep --config=configs/trifeature.py:infmasking,small \
    --sweep=configs/sweeps/loss_terms.py --workdir=runs/loss_terms --config.num_seeds=3

5 runs a seed. The n + 3 terms of n modalities, each times its weight / (n + 3), are the bounds of both
masked views, InfoNCE of each modality and InfoNCE of all modalities (docs/spec/infmasking.md 5.4).
A term that is off gets weight 0 in place of the config's own, and is still computed. "without
masked terms" is CoMM with a loss smaller by (n + 1) / (n + 3), which Adam hardly notices; the row
CoMM is the method itself, on the same model and with the config's other fields. Published,
Trifeature, synergy in % (docs/spec/infmasking.md 10, 12): all terms 77.0, without masking 71.4,
masked terms only 58.7.
"""

from configs.sweeps.mask_ratio import ACCURACY, COSTS


def make_weights(*, masked: bool = True, unimodal: bool = True, joint: bool = True):
  """Returns the function from a config to its weights with some kinds of terms at 0."""

  def weights(config):
    if "num_views" not in config.method:  # no terms of masked views
      raise ValueError(
        f"configs/sweeps/loss_terms.py: expected a config of infmasking, found {config.method.name}"
      )
    count = len(config.data.get("modalities") or config.model.modalities)
    own = tuple(config.method.weights) or (1.0,) * (count + 3)
    on = (masked, masked, *(unimodal,) * count, joint)
    return tuple(w * keep for w, keep in zip(own, on, strict=True))

  return weights


ARMS = (
  {"arm": "all terms"},
  {"arm": "without masked terms", "method.weights": make_weights(masked=False)},
  {"arm": "masked terms only", "method.weights": make_weights(unimodal=False, joint=False)},
  {"arm": "without unimodal InfoNCE", "method.weights": make_weights(unimodal=False)},
  {"arm": "CoMM", "method.name": "comm", "method.weights": (), "gaussianity_masks": 0},
)


def get_hyper(hyper):
  """Returns the rows."""
  return hyper.chainit([ARMS])


def get_report():
  """Describes the table and the figures."""
  return {
    "title": "Loss terms of InfMasking",
    "metrics": {ACCURACY: "<task> (%)"},
    "costs": list(COSTS),
    "plots": [
      {
        "name": name,
        "kind": "bars",
        "x": "arm",
        "metrics": [ACCURACY],
        "which": which,
        "chance": "measured",
      }
      for name, which in (("loss_terms", "best"), ("loss_terms_last", "last"))
    ],
  }
