r"""The synthetic studies of SynIB: Spurious XOR, PID-controlled XOR, and one of three modalities.

`--config=configs/xor.py:METHOD,PRESET` with the presets `spurious`, `pid` and `three`. METHOD is a
classifier (`supervised`, `synib`, ...): examples are made for every seed, no probe is fitted to them.
Test accuracy in % (SynIB, App. F, and docs/spec/synib.md 3.4; 3 seeds):

  spurious, shortcut strength 1 (chance 50)      supervised 50, random mask below oracle, oracle 100
  pid at (.45, 0, .45, .10), synergy examples    supervised 50.3, tuned 90.0; with lambda 10:
                                                 random p=.5 94.7, learned 94.2, oracle 98.4,
                                                 confidence penalty 87.3

  python -m launch.train --config=configs/xor.py:synib,spurious --workdir=runs/spurious   # seconds
  python -m launch.sweep --config=configs/xor.py:supervised,spurious \
    --sweep=configs/sweeps/spurious_xor.py --workdir=runs/spurious_xor
"""

from ml_collections import ConfigDict

from configs.common import base_config, split_argument
from configs.methods import method_config, set_published

PRESETS = ("spurious", "pid", "three")
_CORRUPTING = ("synib", "full_corruption", "masked_augmentation")
_PENALISING = ("confidence_penalty", *_CORRUPTING)
_WITH_HEADS = ("supervised", *_PENALISING)


def _published() -> dict[str, dict]:
  """Returns the table: the published masks are learned from the first step on, and never replaced."""
  masks = {"site": "input", "fill": "noise", "mask_warmup_epochs": 0.0, "mask_collapse_share": 1.0}
  inner = {"mask_steps": 20, "mask_sparsity": 5.0, "mask_schedule": "cosine", "mask_clip": 1.0}
  rows = [
    *((method, "", masks) for method in _CORRUPTING),
    *((method, "spurious", {"unimodal_weight": 0.05}) for method in _WITH_HEADS),
    *((method, "spurious", {"mask_steps": 50, "mask_sparsity": 1.0}) for method in _CORRUPTING),
  ]
  for preset in ("pid", "three"):
    heads = {"unimodal_weight": 1.0, "detach_unimodal": True}
    rows += [(method, preset, heads) for method in _WITH_HEADS]
    rows += [(method, preset, {"penalty": 10.0}) for method in _PENALISING]
    rows += [(method, preset, inner) for method in _CORRUPTING]
  table: dict[str, dict] = {}
  for method, preset, fields in rows:
    key = f"{method},{preset}" if preset else method
    table.setdefault(key, {}).update({f"method.{name}": value for name, value in fields.items()})
  return table


METHODS = _published()


def get_config(argument: str = "synib") -> ConfigDict:
  """Returns the config of "method" or "method,preset"."""
  method, preset = split_argument(argument, PRESETS)
  config = base_config()
  config.method = method_config(method)
  config.evaluators = ("classification",)
  config.model.trunk.name = "mlp"
  config.model.single_logit = True
  config.optim.name = "adam"
  config.keep_partial_batch = True
  config.steps_per_call = 16  # tiny steps, many trials at once
  config.seed = 0
  config.num_seeds = 3
  config.num_devices = 1  # models this small fill one device together; sweeps share out by --shard
  config.eval_batch_size = 500
  config.log_epochs = 10.0
  {"spurious": _spurious, "pid": _pid, "three": _three}[preset](config)
  set_published(config, METHODS, method, preset)
  return config


def _spurious(config: ConfigDict) -> None:
  """Spurious XOR: docs/spec/synib.md 3.1."""
  config.data.name = "spurious_xor"
  config.data.strength = 1.0  # of the shortcut in training; absent at test
  config.data.num_train = 300
  config.data.num_val = 120
  config.data.num_test = 30000
  config.model.trunk.hidden = (32,)
  _set_encoders(config, 2, (16,))
  config.optim.lr = 2e-3
  config.optim.weight_decay = 1e-3
  config.batch_size = 128
  config.total_epochs = 100.0
  config.eval_epochs = 10.0
  config.checkpoint_epochs = 100.0
  config.select_metric = "val/label/accuracy"


def _pid(config: ConfigDict) -> None:
  """PID-controlled XOR: docs/spec/synib.md 3.2."""
  config.data.name = "pid_xor"
  # Which source carries an example's label, as probabilities.
  config.data.unique1 = 0.45
  config.data.unique2 = 0.0
  config.data.redundancy = 0.45
  config.data.synergy = 0.10
  # Of each modality's features, before they are standardised: "none", or entangled by "rotation",
  # "partial", "tanh" or "mixer" (docs/spec/synib_release.md 5.3).
  config.data.mixing = "none"
  config.data.mixing_seed = 0  # of the maps
  config.data.mixing_scale = 1.0  # "tanh": s of tanh(s Q x)
  config.data.num_pool = 2000  # training and validation together
  config.data.num_val = 200
  config.data.num_test = 4000
  config.model.trunk.hidden = (128, 128)
  config.model.unimodal_hidden = (1024,)
  _set_encoders(config, 2, (1024, 1024))
  config.optim.lr = 3e-4
  config.optim.weight_decay = 1e-5
  config.batch_size = 64
  config.total_epochs = 30.0
  config.eval_epochs = 1.0
  config.log_epochs = 1.0
  config.checkpoint_epochs = 10.0
  config.select_metric = "val/label/synergy/accuracy"


def _three(config: ConfigDict) -> None:
  """Three modalities with pairwise and triple synergy; no published row."""
  _pid(config)
  config.data = ConfigDict({"name": "three_way_xor", "num_pool": 4000, "num_val": 400})
  config.data.num_test = 4000
  config.data.unique1 = 0.25
  config.data.redundancy = 0.25
  config.data.pair = 0.25  # split evenly over the three pairs
  config.data.triple = 0.25
  config.model.unimodal_hidden = (256,)
  config.model.modalities = ConfigDict()
  _set_encoders(config, 3, (256, 256))
  config.select_metric = "val/label/accuracy"


def _set_encoders(config: ConfigDict, count: int, widths: tuple[int, ...]) -> None:
  encoder = {"name": "dense_relu", "widths": widths, "dropout": 0.0}
  for i in range(count):
    config.model.modalities[f"x{i + 1}"] = ConfigDict(
      {"encoder": encoder, "adapter": {"name": "feature"}}
    )
