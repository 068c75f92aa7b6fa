r"""Hateful Memes: pictures with captions, hateful or not; frozen towers read both.

`--config=configs/hateful_memes.py:METHOD[,PRESET]`. dev_seen selects the checkpoint, test_seen is scored.
PRESET is frozen (default), finetuned (the towers learn too, at a tenth of the rate) or tiny (fixtures).
Published, accuracy in %, mean of 3 seeds (SynIB, Table 2): ensemble 55.2, supervised 66.4, synib
(random) 69.8; the whole table is `configs/sweeps/synib_table2.py:hateful_memes`.

  python -m data_prep.convert hateful_memes --source=hateful_memes --data_dir=D
  python -m launch.train --config=configs/hateful_memes.py:synib --config.data.data_dir=D \
    --config.model.modalities.image.encoder.weights=weights/clip-vit-base-patch16 \
    --config.model.modalities.text.encoder.weights=weights/deberta-v3-base --workdir=runs/hateful_memes

WEIGHTS are folders of openai/clip-vit-base-patch16 and microsoft/deberta-v3-base (README, Published
towers; both MIT), with the text tower's tokenizer.json or spm.model. Data: research licence, not to be
passed on. As released (docs/spec/synib_release.md 3): images stretched to 224 pixels, no augmentation,
texts of at most 64 tokens, a linear map to 512, LayerNorm without parameters, two layers of fusion.
`data.cache_features=True` computes what frozen towers say once, as released. Differences: padding is
marked, dev_seen selects (released: dev_unseen), and the trunk is this library's.

One GPU, by XLA's counts on a CPU in bfloat16 (`python -m launch.benchmark --only=published`; measured on
none): 6.9 GB, and 40 PFLOP for 50 epochs of SynIB, a quarter of an hour at 50 TFLOP/s; finetuned 17.5 GB
and 79 PFLOP. Early stopping may end it before.

Fixture, on any machine: `data_prep.fixtures hateful_memes` has all lists, and a tokenizer in
tokenizer/: `configs/hateful_memes.py:METHOD,tiny` with `data.tokenizer=FIXTURE/tokenizer`.
"""

from ml_collections import ConfigDict

from configs.common import split_argument
from configs.methods import learns_from_labels, set_published
from configs.multibench import (
  TINY,
  TOWER,
  add_pictures_and_texts,
  multibench_config,
  set_modalities,
  shrink,
)

FROZEN, FINETUNED = "frozen", "finetuned"
PRESETS = (FROZEN, FINETUNED, TINY)
_SYNIB = {
  "method.variant": "released_anchor",
  "method.mask": "random",
  "method.corrupt_probability": 0.3,
  "method.penalty": 0.01,
  "method.first_penalty": 0.1,
  "method.mask_steps": 5,
}
METHODS = {
  "synib": _SYNIB,
  "mmpareto": {"method.gamma": 1.0},
  "diagnose_relearn": {
    "method.relearn_every": 5,
    "method.relearn_times": 2,
    "method.clusters": 6,
    "method.strength": 1.0,
  },
}


def get_config(argument: str = "synib") -> ConfigDict:
  """Returns the config of "method" or "method,preset"."""
  method, preset = split_argument(argument, PRESETS)
  config = multibench_config(method, "hateful_memes")
  add_pictures_and_texts(config, max_length=64, mask_tokens=0.0)
  config.data.tasks = ("hateful",)
  config.data.resident_gb = 2.0
  set_released(config, method)
  if preset == FINETUNED:
    config.optim.frozen = ()
    config.optim.lr_scales = (("encoders_image", 0.1), ("encoders_text", 0.1))
  elif preset == TINY:
    shrink(config)
  set_published(config, METHODS, method, preset)
  return config


def set_released(config: ConfigDict, method: str) -> None:
  """Sets towers, fusion and optimizer of SynIB's release (docs/spec/synib_release.md 2, 3)."""
  image = {"name": "clip_vision", "output": "raw_tokens", **TOWER}
  text = {"name": "deberta", **TOWER}
  set_modalities(config, {"image": (image, "projection"), "text": (text, "projection")})
  config.model.width, config.model.num_layers = 512, 2
  config.model.normalize_features = True
  config.optim.lr = config.optim.weight_decay = 1e-4
  config.optim.schedule, config.optim.constant_steps = "constant_restarts", 100
  config.batch_size, config.total_epochs = 32, 50.0
  if learns_from_labels(method):
    config.select_metric = "val/label/accuracy"
    config.early_stop_patience = 20
