r"""MUStARD: sarcasm in 690 television scenes, from vision, text and audio features of 50 words.

`--config=configs/mustard.py:METHOD,MODALITIES`, MODALITIES 2 (vision, text; default) or 3 (and audio);
`tiny`: two, with encoders of one small layer, for fixtures on a CPU.
Published, macro accuracy of a linear probe in %, 5 seeds (InfMasking, arXiv 2509.25270, MultiBench):

              2 modalities    3 modalities
  InfMasking  66.8 +- 2.5     no published row
  CoMM        64.4 +- 1.1     no published row (CoMM's own paper, 2 modalities: 63.9)
  chance      50

  python -m data_prep.convert mustard --source=sarcasm.pkl --data_dir=D
  python -m launch.train --config=configs/mustard.py:infmasking --config.data.data_dir=D \
    --config.protocol=paper --config.num_seeds=5 --workdir=runs/mustard

Its vision features hold absurdly large values: `clean` cuts them off at 1e6, SynIB standardises
(`--config.data.z_norm=true`).
"""

from ml_collections import ConfigDict

from configs.common import split_argument
from configs.methods import set_published
from configs.mosi import MODALITIES
from configs.multibench import affect_config

METHODS = {
  "infmasking": {
    "method.num_views": 5,
    "method.mask_ratio": 0.5,
    "method.mask_lambda": 1.0,
    "method.temperature": 0.05,
    "optim.weight_decay": 5e-2,
  },
  "infmasking,3": {"model.num_layers": 2},
  "comm": {"method.temperature": 0.1, "optim.weight_decay": 1e-2},
  "diagnose_relearn": {"method.relearn_every": 10},  # as SynIB ran it
}


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,modalities"."""
  method, preset = split_argument(argument, tuple(MODALITIES))
  config = affect_config(method, "mustard", preset, MODALITIES, max_length=50)
  set_published(config, METHODS, method, preset)
  config.data.tasks = ("sarcasm",)
  return config
