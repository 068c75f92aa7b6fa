r"""MIMIC-III: diagnoses of 32,616 intensive-care stays, from 5 static and 24 x 12 hourly variables.

`--config=configs/mimic.py:METHOD`. Published, macro accuracy of a linear probe in % for ICD-9 group 7
(respiratory diseases), 5 seeds (InfMasking, arXiv 2509.25270, MultiBench table):

  InfMasking  68.1 +- 0.42
  CoMM        66.4 +- 0.41
  chance      50   (always the larger class: accuracy about 66 %, macro accuracy 50 %)

  python -m data_prep.convert mimic --source=im.pk --data_dir=D
  python -m launch.train --config=configs/mimic.py:infmasking --config.data.data_dir=D \
    --config.protocol=paper --config.num_seeds=5 --workdir=runs/mimic

`--config.data.tasks="('mortality',)"` scores six classes of mortality, `--config.data.icd9_group=1`
another group. Features are standardised by the mean and std of all rows under `paper`, as published, and
of the training rows under `clean`; the converter writes both. The data are under MIMIC's data use
agreement, and so are the shards.
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.common import split_argument
from configs.methods import set_published
from configs.multibench import multibench_config, set_modalities

METHODS = {
  "infmasking": {
    "method.num_views": 6,
    "method.mask_ratio": 0.8,
    "method.mask_lambda": 1.0,
    "method.temperature": 0.2,
    "method.weights": (1.0, 1.0, 1.0, 1.0, 5.0),
    "optim.lr": 3e-4,
  },
  "comm": {"method.temperature": 0.1, "optim.lr": 1e-3},
}
PRESETS = ("2",)


def get_config(argument: str = "infmasking") -> ConfigDict:
  """Returns the config of "method" or "method,2"."""
  method, _ = split_argument(argument, PRESETS)
  config = multibench_config(method, "mimic")
  config.data.tasks = ("icd9",)
  config.data.icd9_group = 7
  # "zscore_all" (published: of all rows, those of the test too), "zscore_train" or "raw"; None: as the
  # protocol says.
  config.data.statistics = placeholder(str)
  set_modalities(
    config,
    {
      "tabular": ({"name": "mlp"}, "feature"),
      "timeseries": ({"name": "gru", "features": 512}, "sequence"),
    },
  )
  config.model.width = 512
  set_published(config, METHODS, method)
  return config
