"""Your own data: `--config=configs/arrays.py:METHOD,FOLDER`, FOLDER as in `synjax.data.arrays`.

Encoders follow from the shapes in FOLDER/train.npz: vectors an MLP whose outputs are tokens, sequences a
small transformer, images a small convolutional network; the rest are defaults that train in minutes.
Every field can be set on the command line.
"""

import pathlib
import zipfile
import zlib

import numpy as np
from ml_collections import ConfigDict

from configs.common import SIMCLR
from configs.multibench import add_padding, set_modalities, stored_config

_IMAGE = {"name": "patch_convnet", "patch": 4, "widths": (32, 64), "depths": (1, 1)}
_ENCODERS = {  # dimensions of the training array -> encoder and adapter
  2: ({"name": "mlp", "hidden": 64, "features": 16}, "feature"),
  3: (
    {
      "name": "sequence_transformer",
      "num_heads": 4,
      "num_layers": 2,
      "hidden": 128,
      "dropout": 0.0,
    },
    "sequence",
  ),
  4: (_IMAGE | {"overlaps": (True, False)}, "patch"),
}


def get_config(argument: str) -> ConfigDict:
  """Returns the config of "method,folder".

  Raises:
    ValueError: no folder, or it holds no training data.
  """
  method, _, folder = argument.partition(",")
  if not folder:
    raise ValueError("--config: expected configs/arrays.py:METHOD,FOLDER, found no folder")
  shapes, has_classes = _describe(pathlib.Path(folder).expanduser() / "train.npz")
  config = stored_config(method, "arrays", num_views=6, mask_ratio=0.5)
  config.data.data_dir = folder
  add_padding(config)
  config.data.transform = ConfigDict(SIMCLR)
  config.data.resolution = max([32, *(shape[1] for shape in shapes.values() if len(shape) == 4)])
  set_modalities(config, {name: _ENCODERS[len(shape)] for name, shape in shapes.items()})
  config.model.width = 64
  config.model.head_hidden, config.model.head_features = 128, 64
  config.total_epochs = 30.0
  config.eval_epochs = 10.0
  config.checkpoint_epochs = 10.0
  config.probe.test_search = "coarse"
  config.select_metric = "val/label/macro_accuracy" if has_classes else "-val/label/mse"
  return config


def _describe(path: pathlib.Path) -> tuple[dict[str, tuple[int, ...]], bool]:
  """Returns (modality -> shape of its training array, whether labels are classes)."""
  try:
    with np.load(path, allow_pickle=False) as file:
      arrays = {name: file[name] for name in file}
  except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    raise ValueError(
      f"--config: {path}: expected an archive written by numpy.savez, found none that can be read"
      f" ({error}); see README, Your own data"
    ) from error
  shapes = {name: a.shape for name, a in arrays.items() if name != "label" and a.ndim in _ENCODERS}
  if not shapes or "label" not in arrays:
    raise ValueError(
      f"--config: {path}: expected label and at least one modality of two to four axes, found"
      f" { {name: a.shape for name, a in arrays.items()} }"
    )
  return shapes, arrays["label"].dtype.kind in "iub"
