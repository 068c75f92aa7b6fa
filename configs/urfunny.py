r"""UR-FUNNY (V2): humour in 10,166 sentences of TED talks, from vision, text and audio of 20 words.

`--config=configs/urfunny.py:METHOD,MODALITIES`, MODALITIES 2 (vision, text; default) or 3 (and audio);
`tiny`: two, with encoders of one small layer, for fixtures on a CPU.
Published, macro accuracy of a linear probe in %, 5 seeds (InfMasking, arXiv 2509.25270, MultiBench):

              2 modalities    3 modalities
  InfMasking  64.3 +- 0.9     65.6 +- 1.15
  CoMM        63.3 +- 0.51    64.8 +- 1.13   (CoMM's own paper: 63.1 and 64.6)
  chance      50

  python -m data_prep.convert urfunny --source=humor.pkl --data_dir=D
  python -m launch.train --config=configs/urfunny.py:infmasking,3 --config.data.data_dir=D \
    --config.protocol=paper --config.num_seeds=5 --workdir=runs/urfunny3
"""

from ml_collections import ConfigDict

from configs.common import split_argument
from configs.methods import set_published
from configs.mosi import MODALITIES
from configs.multibench import affect_config

METHODS = {
  "infmasking": {
    "method.num_views": 4,
    "method.mask_ratio": 0.5,
    "method.mask_lambda": 2.0,
    "method.temperature": 0.05,
  },
  "infmasking,2": {"method.weights": (1.0, 1.0, 1.0, 1.0, 5.0)},
  "infmasking,3": {"model.num_layers": 2, "optim.lr": 1e-3},
  "comm": {"method.temperature": 0.1},
  "comm,3": {"optim.lr": 1e-4},
  "diagnose_relearn": {"method.relearn_every": 10},  # as SynIB ran it
}


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,modalities"."""
  method, preset = split_argument(argument, tuple(MODALITIES))
  config = affect_config(method, "urfunny", preset, MODALITIES, max_length=20)
  config.data.tasks = ("humor",)
  if preset == "3":
    config.optim.lr = 1e-4  # CoMM's, for methods without a published one
  set_published(config, METHODS, method, preset)
  return config
