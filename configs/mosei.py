r"""CMU-MOSEI: sentiment of 22,777 film reviews, from vision, text and audio features of 50 words.

`--config=configs/mosei.py:METHOD,MODALITIES`, MODALITIES 2 (vision, text; default) or 3 (and audio). No
published row of InfMasking or CoMM: hyper-parameters are those of MOSI, whose features are alike. Chance
of macro accuracy is 50 %.

  python -m data_prep.convert mosei --source=mosei_senti_data.pkl --data_dir=D
  python -m launch.train --config=configs/mosei.py:infmasking,3 --config.data.data_dir=D \
    --workdir=runs/mosei
"""

from ml_collections import ConfigDict

from configs.common import split_argument
from configs.mosi import MODALITIES
from configs.multibench import affect_config


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,modalities"."""
  method, preset = split_argument(argument, tuple(MODALITIES))
  config = affect_config(
    method,
    "mosei",
    MODALITIES[preset],
    max_length=50,
    num_views=5,
    mask_ratio=0.8,
    mask_lambda=0.25,
    temperature=0.1,
  )
  config.data.tasks = ("sentiment", "score")
  return config
