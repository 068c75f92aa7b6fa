r"""CMU-MOSI: sentiment of 2,199 film reviews, from vision, text and audio features of 50 words.

`--config=configs/mosi.py:METHOD,MODALITIES`, MODALITIES 2 (vision, text; default) or 3 (and audio);
`tiny`: two, with encoders of one small layer, for fixtures on a CPU.
Published, macro accuracy of a linear probe in %, 5 seeds (InfMasking, arXiv 2509.25270, MultiBench):

              2 modalities    3 modalities
  InfMasking  69.0 +- 1.2     no published row
  CoMM        63.7 +- 2.5     no published row (CoMM's own paper, 2 modalities: 67.5)
  chance      50

  python -m data_prep.convert mosi --source=mosi_data.pkl --data_dir=D
  python -m launch.train --config=configs/mosi.py:infmasking --config.data.data_dir=D \
    --config.protocol=paper --config.num_seeds=5 --workdir=runs/mosi

The probes score the sign of the sentiment and regress the score in [-3, 3].
"""

from ml_collections import ConfigDict

from configs.common import split_argument
from configs.methods import set_published
from configs.multibench import TINY, affect_config

METHODS = {
  "infmasking": {
    "method.num_views": 5,
    "method.mask_ratio": 0.8,
    "method.mask_lambda": 0.25,
    "method.temperature": 0.1,
  },
  "infmasking,3": {"model.num_layers": 2},
  "comm": {"method.temperature": 0.1},
  "diagnose_relearn": {"method.relearn_every": 10},  # as SynIB ran it
  # MCR's own runs, docs/spec/baselines.md 5.6.
  "mcr": {"method.mipd_weight": 1e-3, "method.unimodal_weight": 1e-3},
  "mcr,3": {"method.mipd_weight": 1e-2, "method.unimodal_weight": 1e-2},
}
MODALITIES = {"2": ("vision", "text"), "3": ("vision", "text", "audio"), TINY: ("vision", "text")}


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,modalities"."""
  method, preset = split_argument(argument, tuple(MODALITIES))
  config = affect_config(method, "mosi", preset, MODALITIES, max_length=50)
  set_published(config, METHODS, method, preset)
  config.data.tasks = ("sentiment", "score")
  return config
