"""Trifeature: redundancy, uniqueness and synergy in pairs of rendered images.

Full size (the paper's rows; a GPU): `--config=configs/trifeature.py:infmasking` and `:comm`.
Published, 5 seeds, macro accuracy in % (InfMasking, arXiv 2509.25270, Trifeature table):

              pairs for pre-training   redundancy   uniqueness   synergy
  InfMasking  unbiased (R, U)          99.9 +- .09  90.6 +- 2.3
              biased (S)                                         77.0 +- 4.2
  CoMM        unbiased (R, U)          99.9         86.8 +- 3.0
              biased (S)                                         71.4 +- 3.5
  chance                               10           10           50

  R, U:  python -m launch.train --config=configs/trifeature.py:infmasking --workdir=runs/tri_ru \
           --config.num_seeds=5 --config.protocol=paper
  S:     the same with --config.data.biased=true

Supervised methods (`:supervised`, `:synib`, `:ensemble`, ...) learn `--config.data.task`, on biased or
unbiased pairs alike; no published row.

Small (2 CPU cores, about 6 minutes): `--config=configs/trifeature.py:infmasking,small`. Expected, seed
42, at b42d344: redundancy 91, texture of image 1 and 2 77 and 65 to 67, synergy 55 to 59, by the versions
of Python and jax (RESULTS.md has the intervals).

Medium: `--config=configs/trifeature.py:METHOD,medium`, the same with 3 seeds, which tells methods
apart. Read synergy there by its AUROC: one test pair in ten is positive, so that a probe that decides at
probability 0.5 hardly ever says yes.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.common import SIMCLR, base_config, split_argument
from configs.methods import learns_from_labels, method_config, set_published

_OPTIM = {"optim.lr": 3e-4, "optim.weight_decay": 1e-4}
# Of FactorCL as CoMM's authors ran it, docs/spec/baselines.md 3.7.
_FACTORCL = {"optim.name": "adam", "optim.lr": 1e-4, "optim.weight_decay": 0.0}
METHODS = {
  "infmasking": {
    "method.num_views": 6,
    "method.mask_ratio": 0.7,
    "method.mask_lambda": 1.0,
    "method.temperature": 0.1,
    **_OPTIM,
  },
  "comm": {"method.temperature": 0.1, **_OPTIM},
  "factorcl": _FACTORCL,
  "factorcl_sup": _FACTORCL,
  "mae,full": {
    "optim.lr": 3.75e-5,  # 1.5e-4 batch / 256
    "optim.weight_decay": 0.05,
    "optim.schedule": "warmup_cosine",
  },
  "mae,small": {
    "method.patch": 4,
    "method.encoder_layers": 2,
    "method.decoder_layers": 1,
    "method.decoder_width": 64,
  },
}
PRESETS = ("full", "small", "medium")
MEDIUM_SEEDS = 3


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,preset"."""
  method, preset = split_argument(argument, PRESETS)
  config = base_config()
  config.method = method_config(method)
  config.select_metric = "val/mean/macro_accuracy"

  config.data.name = "trifeature"
  config.data.cache_dir = "~/.cache/synjax/trifeature"
  config.data.biased = False  # True: pre-training pairs obey the colour-texture map (synergy run)
  config.data.task = "synergy"  # what `label` is, for methods that learn from labels
  config.data.num_pairs = 10000
  config.data.resolution = 224
  config.data.texture_period = placeholder(int)  # pixels; None: legible at the resolution
  config.data.transform = ConfigDict(SIMCLR)
  # How evaluation sees an image: "deterministic" or "random_crop"; None: as the protocol says.
  config.data.evaluation = placeholder(str)

  config.steps_per_call = 16
  config.optim.lr = 3e-4
  config.optim.weight_decay = 1e-4
  config.total_epochs = 100.0
  config.log_steps = 50
  config.eval_epochs = 1.0
  config.checkpoint_epochs = 1.0
  config.early_stop_patience = 10
  _set_encoder(config, {"name": "alexnet"})
  set_published(config, METHODS, method, "small" if preset == "medium" else preset)
  if preset in ("small", "medium"):
    _make_small(config)
  if preset == "medium":
    config.num_seeds = MEDIUM_SEEDS
  if learns_from_labels(method):
    config.evaluators = ("classification",)
    config.select_metric = "val/label/macro_accuracy"
  return config


def _set_encoder(config: ConfigDict, encoder: dict) -> None:
  """Gives both images an encoder of their own kind and a patch adapter."""
  for name in ("image_1", "image_2"):
    config.model.modalities[name] = ConfigDict({"encoder": encoder, "adapter": {"name": "patch"}})


def _make_small(config: ConfigDict) -> None:
  """Turns the paper's config into one that learns in minutes on 2 CPU cores, chosen by measurement."""
  config.data.resolution = 32
  config.data.biased = True
  config.data.transform.crop_scale = (0.4, 1.0)  # a smaller crop holds no shape of 18 pixels
  encoder = {"name": "patch_convnet", "patch": 2, "widths": (32, 64, 128), "depths": (0, 1, 1)}
  _set_encoder(config, {**encoder, "overlaps": (True, True, False)})
  config.model.width = 128
  config.model.head_hidden = 128
  config.model.head_features = 64
  config.batch_size = 128
  config.eval_batch_size = 250
  config.optim.lr = 2e-3
  config.total_epochs = None
  config.total_steps = 1600
  config.eval_epochs = None
  config.eval_steps = 800
  config.checkpoint_epochs = None
  config.checkpoint_steps = 100
  config.early_stop_patience = None
  config.probe.test_search = "coarse"
