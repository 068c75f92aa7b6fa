r"""Vision&Touch: a robot inserts a peg; images, forces and proprioception of 3,000 recordings.

`--config=configs/vision_touch.py:METHOD,ROW`. Published, 5 seeds (InfMasking, arXiv 2509.25270,
MultiBench; the next pose is a regression, mean squared error in units of 1e-4, lower is better; contact
is macro accuracy in %):

  ROW    modalities               task               InfMasking      CoMM            CoMM's own paper
  ee     image, force             next pose          4.23 +- .37     7.96 +- 2.13    4.55
  cp2    image, proprio           contact            88.5 +- .33     87.0 +- 1.77    88.1
  cp3    image, force, proprio    contact            94.1 +- .09     94.1 +- .17     94.2
  cp4    and the next action      contact            no published row: shows that four modalities work

  python -m data_prep.convert vision_touch --source=triangle_real_data --data_dir=D
  python -m launch.train --config=configs/vision_touch.py:infmasking,ee --config.data.data_dir=D \
    --config.protocol=paper --config.num_seeds=5 --workdir=runs/vision_touch_ee

Under `paper`, validation is the test split and the force encoder sees one of 32 readings, as published;
`clean` holds out a tenth of the training files and sees all of them. The 7 GB of images are streamed
unless `config.data.resident_gb` allows more.
"""

from ml_collections import ConfigDict

from configs.common import SIMCLR, split_argument
from configs.methods import learns_from_labels, set_published
from configs.multibench import multibench_config, set_modalities

_MANY = {"method.num_views": 5, "method.mask_ratio": 0.8, "model.num_layers": 2}
METHODS = {
  "infmasking": {"method.mask_lambda": 1.0, "method.temperature": 0.1, "optim.lr": 1e-4},
  "infmasking,ee": {
    "method.num_views": 4,
    "method.mask_ratio": 0.5,
    "method.weights": (1.0, 1.0, 1.0, 1.0, 5.0),
  },
  "infmasking,cp2": {"method.num_views": 6, "method.mask_ratio": 0.7},
  "infmasking,cp3": _MANY,
  "infmasking,cp4": _MANY,
  "comm": {"method.temperature": 0.1, "optim.lr": 1e-4},
}
_IMAGE = ({"name": "resnet18"}, "patch")
_FORCE = ({"name": "force", "features": 512}, "token")
_PROPRIO = ({"name": "proprioception", "features": 512}, "token")
_MODALITIES = {
  "ee": {"image": _IMAGE, "force": ({"name": "force", "features": 128}, "feature")},
  "cp2": {"image": _IMAGE, "proprio": _PROPRIO},
  "cp3": {"image": _IMAGE, "force": _FORCE, "proprio": _PROPRIO},
  "cp4": {
    "image": _IMAGE,
    "force": _FORCE,
    "proprio": _PROPRIO,
    "action": ({"name": "mlp"}, "feature"),
  },
}


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,row"; ValueError for labels where a row has none."""
  method, row = split_argument(argument, tuple(_MODALITIES))
  regression = row == "ee"
  if regression and learns_from_labels(method):
    raise ValueError(
      f"--config: row ee has no classes for {method} to learn; choose cp2 or cp3, or a"
      " self-supervised method"
    )
  config = multibench_config(method, "vision_touch")
  config.data.variant = "default"  # of the shards: what `data_prep.convert` was told
  config.data.resolution = 128
  config.data.transform = ConfigDict(SIMCLR)
  config.data.tasks = ("ee_yaw_next",) if regression else ("contact",)
  set_modalities(config, _MODALITIES[row])
  config.model.width = 128 if regression else 512
  config.optim.lr = 1e-4
  if regression:
    config.select_metric = "-val/ee_yaw_next/mse"
  if len(_MODALITIES[row]) > 2:
    config.early_stop_patience = 20
  set_published(config, METHODS, method, row)
  return config
