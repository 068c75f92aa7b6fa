r"""CMU-MOSEI: sentiment of 22,777 monologues, from vision, text and audio features of 50 words.

`--config=configs/mosei.py:METHOD,MODALITIES`, MODALITIES 2 (vision, text; default) or 3 (and audio);
`tiny` as in configs/mosi.py. No published row of InfMasking or CoMM: hyper-parameters are those of MOSI,
whose features are alike. Chance of macro accuracy is 50 %.

  python -m data_prep.convert mosei --source=mosei_senti_data.pkl --data_dir=D
  python -m launch.train --config=configs/mosei.py:infmasking,3 --config.data.data_dir=D \
    --workdir=runs/mosei
"""

from ml_collections import ConfigDict

from configs import mosi


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,modalities"."""
  config = mosi.get_config(argument)
  config.data.name = "mosei"
  return config
