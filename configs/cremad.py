r"""CREMA-D: actors say a sentence in one of six emotions; the sound, and frames of the picture.

`--config=configs/cremad.py:METHOD,FOLD`, FOLD of fold1 to fold5 (SynIB's, actors in one split each) or
ogm (OGM-GE's, whose splits share actors; validation is then held out by actors). With
`--config.data.irony=RHO` some examples get another one's sound, and the class "irony"
(`synjax.data.irony`): SynIB's CREMA-D-Irony. Published, irony F1 / macro F1 in % over 7 classes, mean and
deviation of fold1 to fold3 (SynIB, Table 1; docs/spec/synib.md 4.7):

  METHOD            rho 0.1             0.5                  1.0                 2.0
  ensemble          3.0 +- 5.2 / 59.7   15.0 +- 8.0 / 58.4   36.8 +- 6.3 / 59.6  54.3 +- 3.8 / 38.3
  supervised        6.4 +- 5.6 / 59.3   18.3 +- 12.2 / 57.4  39.7 +- 0.2 / 58.2  50.0 +- 5.5 / 54.5
  diagnose_relearn  0.0 +- 0.0 / 55.1   9.0 +- 6.1 / 55.7    25.8 +- 9.0 / 54.3  45.2 +- 5.9 / 47.0
  mmpareto          3.7 +- 6.4 / 58.9   13.0 +- 4.2 / 58.6   20.0 +- 0.8 / 55.5  41.5 +- 2.6 / 50.2
  reconboost        0.0 +- 0.0 / 57.6   11.6 +- 4.4 / 57.0   19.3 +- 7.6 / 55.2  45.6 +- 10.0 / 48.8
  mcr               14.1 +- 12.2 / 63.7 17.6 +- 8.7 / 60.8   31.6 +- 5.2 / 59.6  53.5 +- 6.4 / 55.5
  synib             16.3 +- 6.6 / 60.4  21.7 +- 4.7 / 59.4   35.3 +- 3.7 / 57.4  53.0 +- 3.6 / 55.3

  python -m data_prep.convert cremad --source=CREMA-D --data_dir=D --audio=logspec
  python -m launch.train --config=configs/cremad.py:ensemble,fold1 --config.data.data_dir=D \
    --config.data.irony=0.5 --config.data.irony_seed=109 --config.seed=109 --workdir=runs/cremad_ensemble
  python -m launch.train --config=configs/cremad.py:synib,fold1 --config.data.data_dir=D \
    --config.data.irony=0.5 --config.data.irony_seed=109 --config.seed=109 --workdir=runs/cremad_synib \
    --config.initialize_from=runs/cremad_ensemble

Recordings: github.com/CheyneyComputerScience/CREMA-D (git-lfs; Open Database License, contents under the
Database Contents License). Beside AudioWAV/ and the vote tables the source folder holds Image-01-FPS/, a
frame a second that you extract, and the lists: SynIB's data_splits_val.pkl for folds, OGM-GE's train.csv
and test.csv for `ogm` (docs/spec/data.md 8). No weights are needed.

SynIB and MCR start both encoders from unimodal models of the same fold and rho (`initialize_from` takes
over one run: that of `ensemble`, which trains both), and fine-tune them at 1e-5: without, that rate is of
encoders at random. Seeds of the folds are 109, 19 and 337. Two ResNet-18 from scratch; 257 x 188 log
spectrograms, as they are, and three frames of 224 pixels. Differences from the published code: frames are
stretched to a square before training crops are cut out; encoders start as
`synjax.models.encoders.ResNet18` says. In memory the clips of a fold are 4 GB; streamed, none is ironic.

One GPU, by XLA's counts on a CPU in bfloat16 (`python -m launch.benchmark --only=published`; measured on
none): 15.1 GB at SynIB's batch of 128, and 5.5 TFLOP a step, three steps a second at 16 TFLOP/s; 46,500
steps if nothing stops early.

Fixture, on any machine: README, MultiBench; both `encoder.size=tiny`, `data.resolution=32`.
"""

from ml_collections import ConfigDict

from configs.common import SIMCLR, split_argument
from configs.methods import learns_from_labels, set_published
from configs.multibench import multibench_config, set_modalities

FOLDS = ("fold1", "fold2", "fold3", "fold4", "fold5", "ogm")
_FINE_TUNED = {"optim.lr": 1e-5, "optim.weight_decay": 1e-5}
METHODS = {
  "synib": _FINE_TUNED
  | {
    "method.mask": "random",
    "method.corrupt_probability": 0.2,
    "method.penalty": 1.0,
    "method.reference": "unimodal",
    "method.detach_unimodal": True,
    "batch_size": 128,
  },
  "mcr": _FINE_TUNED,
  "mmpareto": {"method.gamma": 0.8},
  "diagnose_relearn": {"method.relearn_every": 10, "method.clusters": 6},
}
_MLP = {"name": "mlp", "hidden": (64,), "dropout": 0.1}
_TRUNKS = {"finetune": {}}  # it takes over a fusion of tokens
_ENCODER = {"name": "resnet18", "output": "pooled", "size": ""}


def get_config(argument: str = "supervised") -> ConfigDict:
  """Returns the config of "method" or "method,fold"."""
  method, fold = split_argument(argument, FOLDS)
  config = multibench_config(method, "cremad")
  config.data.fold = fold
  config.data.tasks = ("emotion",)
  config.data.num_frames = (
    3  # of a clip, the first ones; those that are missing have the mean colour
  )
  config.data.resolution = 224  # rows and columns of a frame
  plain = {"jitter_probability": 0.0, "grayscale_probability": 0.0, "blur_probability": 0.0}
  config.data.transform = ConfigDict(SIMCLR | plain)
  # Methods of one view are trained on crops that are drawn anew, as published; False: on what is scored.
  config.data.augment_training = True
  config.data.resident_gb = 8.0
  set_modalities(config, dict.fromkeys(("audio", "video"), (_ENCODER, "token")))
  trunk = _TRUNKS.get(method, _MLP)
  if learns_from_labels(method) and trunk:
    config.model.trunk = ConfigDict(trunk)
  config.model.normalize_features = True
  config.optim.name, config.optim.eps = "adam", 1e-7
  config.optim.lr = config.optim.weight_decay = 1e-4
  config.optim.schedule = "constant_restarts"
  config.total_epochs = 1500.0
  if learns_from_labels(method):
    config.select_metric = "val/label/accuracy"
    config.early_stop_patience = 30
  set_published(config, METHODS, method, fold)
  return config
