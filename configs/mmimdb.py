r"""MM-IMDb: posters and plots of 25,959 films; any of 23 genres.

`--config=configs/mmimdb.py:METHOD[,PRESET]`. Published, weighted / macro F1 in % of a probe, 5 seeds
(InfMasking, arXiv 2509.25270): InfMasking 62.60 +- .26 / 55.93 +- .19, CoMM 61.29 +- .73 / 53.79 +- .22;
without frozen towers SLIP 56.54 / 47.35, CLIP 54.49 / 44.94, SimCLR 40.35 / 27.99. Frozen features of
CLIP alone: V 51.5 / 40.8, L 51.0 / 43.0, V+L 58.9 / 50.9 (docs/spec/infmasking.md 10).

  python -m data_prep.convert mmimdb --source=mmimdb --data_dir=D --variant=224
  python -m launch.train --config=configs/mmimdb.py:infmasking --config.data.data_dir=D \
    --config.data.variant=224 --config.protocol=paper --config.num_seeds=5 --workdir=runs/mmimdb \
    --config.model.modalities.image.encoder.weights=weights/vit_base_patch32_clip_224.openai \
    --config.model.modalities.text.encoder.weights=weights/clip-ViT-B-32-multilingual-v1

WEIGHTS are folders of timm/vit_base_patch32_clip_224.openai (MIT) and
sentence-transformers/clip-ViT-B-32-multilingual-v1 (Apache-2.0), see README, Published towers, with the
text tower's tokenizer.json. The data have no licence: posters and plots are their owners'. Both towers
are frozen (docs/spec/infmasking.md 1.5), all their tokens are fused; 15 % of the tokens of a training
view are hidden. Differences from the published code: the longest plot of a film stands for all
(published: a random one at every access, also when scoring), and training crops are cut out of the
middle square of a poster.

`clip`, `slip` and `simclr` train what they read with: `clip` both towers, `slip` and `simclr` a ResNet-50
from scratch, `slip` the text tower too (which one it had is not published). Vectors of CLIP and SLIP are
means of tokens of width 768 (published: the towers' own 512 features).

`clip,frozen` trains nothing (a step moves the temperature, which no score reads): its probes are of the
class token and of the mean of the text's tokens. V+L are the scores of all modalities, V those without
text, L those without image; the same command with `--config=configs/mmimdb.py:clip,frozen`.

`METHOD,five` is SynIB's variant: films of one genre alone, of the five most frequent ones, on Hateful
Memes' towers and fusion (WEIGHTS clip-vit-base-patch16 and deberta-v3-base; its config is not published;
which genres is not either). Accuracy in %, 3 seeds (docs/spec/synib_release.md 8): ensemble 84.5,
supervised 83.5, diagnose_relearn 83.4, mmpareto 83.7, reconboost 84.6, mcr 83.8, synib 85.1.

One GPU, by XLA's counts on a CPU in bfloat16 (`python -m launch.benchmark --only=published`; measured on
none): 1.9 GB, and 45 PFLOP for 70 epochs of InfMasking, a quarter of an hour at 50 TFLOP/s; probes come
on top.

Fixture, on any machine: `METHOD,tiny` and `data.tokenizer=FIXTURE/tokenizer`, which `data_prep.fixtures
mmimdb` writes.
"""

from ml_collections import ConfigDict

from configs import hateful_memes
from configs.common import split_argument
from configs.methods import learns_from_labels, require, set_published
from configs.multibench import (
  TINY,
  TOWER,
  add_pictures_and_texts,
  multibench_config,
  set_modalities,
  shrink,
)

FROZEN, FIVE = "frozen", "five"
# Their published rows train the towers; SimCLR and SLIP read pictures with a ResNet-50 from scratch.
_TRAINED, _FROM_SCRATCH = ("clip", "slip", "simclr"), ("slip", "simclr")
METHODS = {
  "infmasking": {
    "method.mask_lambda": 0.2,
    "method.temperature": 0.5,
    "method.mask_ratio": 0.8,
    "method.num_views": 4,
    "method.weights": (1.0, 1.0, 1.0, 1.0, 5.0),
    "optim.lr": 1e-3,
  },
}


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,preset"."""
  method, preset = split_argument(argument, ("default", FROZEN, FIVE, TINY))
  if preset == FROZEN:
    require(
      f"--config: the method of {FROZEN}, which probes the towers' own features", method, ("clip",)
    )
  config = multibench_config(method, "mmimdb")
  add_pictures_and_texts(config, max_length=128, mask_tokens=0.15)
  config.data.variant = "default"  # of the shards: what `data_prep.convert` was told
  config.data.tasks = ("genres",)
  image = {"name": "clip_vision", **TOWER}, "sequence"
  if method in _FROM_SCRATCH:
    image = {"name": "resnet50", "size": ""}, "patch"
  set_modalities(config, {"image": image, "text": ({"name": "distilbert", **TOWER}, "sequence")})
  if method in _TRAINED and preset != FROZEN:
    config.optim.frozen = ()
  config.model.width = 768
  config.optim.lr, config.optim.weight_decay = 1e-4, 1e-2
  config.optim.schedule = "warmup_cosine"
  config.total_epochs = 70.0
  config.probe.test_search = "coarse"
  config.select_metric = f"val/{'label' if learns_from_labels(method) else 'genres'}/macro_f1"
  if preset == FROZEN:
    config.model.modalities.image.encoder.output = "pooled"
    config.model.modalities.image.adapter.name = "token"
    config.total_epochs = config.eval_epochs = config.checkpoint_epochs = config.log_epochs = None
    config.total_steps = config.eval_steps = config.checkpoint_steps = config.log_steps = 1
  elif preset == FIVE:
    config.data.tasks = ("genre5",)
    config.select_metric = "val/genre5/macro_accuracy"
    hateful_memes.set_released(config, method)
  elif preset == TINY:
    shrink(config)
    config.model.normalize_features = True
    if learns_from_labels(method):
      config.model.trunk.name = "mlp"
  set_published(config, hateful_memes.METHODS if preset == FIVE else METHODS, method, preset)
  return config
