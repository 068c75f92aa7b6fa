"""Your own data: `--config=configs/arrays.py:METHOD,FOLDER`, FOLDER as in `synjax.data.arrays`.

Encoders follow from the shapes in FOLDER/train.npz: vectors an MLP whose outputs are tokens, sequences a
small transformer, images a small convolutional network; epochs and batch follow its number of examples
(`sizes`). Views, temperature, widths and steps were chosen by validation scores of HTAD, HTAD-match and
mfeat (`data_prep.open`; RESULTS.md, Own data). Every field can be set on the command line;
--config.data.modalities and --config.data.label_kind say what arrays are where their names and dtypes
leave it open; --config.data.task which of several labels a method that learns from labels learns.
"""

import difflib
import math
import pathlib
import zipfile
import zlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict, FieldReference
from ml_collections.config_dict import placeholder

from configs.common import SIMCLR
from configs.methods import learns_from_labels, set_published
from configs.multibench import add_padding, stored_config

_CONTRASTIVE = {"method.temperature": 0.3}
_CLASSIFIER = {"optim.lr": 3e-4}
# Classifiers that fuse. An MLP was better than the transformer on all of seven datasets of vectors and
# sequences (RESULTS.md, Own data); images, which were not compared, keep the transformer.
_MLP = {"model.trunk.name": "mlp", "model.trunk.hidden": (256,)}
_OF_TRANSFORMERS = ("num_heads", "num_layers", "pool", "implementation")  # in config.model
_FUSING = (
  "supervised", "synib", "confidence_penalty", "full_corruption", "masked_augmentation",
  "multi_loss", "ogm_ge", "mmpareto", "mcr", "diagnose_relearn",
)  # fmt: skip
METHODS = {
  **dict.fromkeys(("comm", "cross_self", "cmc", "simclr"), _CONTRASTIVE),
  **dict.fromkeys((*_FUSING, "unimodal", "ensemble", "reconboost"), _CLASSIFIER),
  **{f"{name},features": _MLP for name in _FUSING},
  "infmasking": _CONTRASTIVE | {"method.num_views": 6, "method.mask_ratio": 0.5},
  "mae": {
    "method.patch": 4,
    "method.encoder_layers": 2,
    "method.decoder_layers": 1,
    "method.decoder_width": 64,
  },
}
_IMAGE = {"name": "patch_convnet", "patch": 4, "widths": (32, 64), "depths": (1, 1)}
_ENCODERS = {  # dimensions of the training array -> encoder and adapter
  2: ({"name": "mlp", "hidden": 256, "features": 32}, "feature"),
  3: (
    {
      "name": "sequence_transformer",
      "num_heads": 4,
      "num_layers": 2,
      "hidden": 128,
      "dropout": 0.0,
      "positions": "sincos",
    },
    "sequence",
  ),
  4: (_IMAGE | {"overlaps": (True, False)}, "patch"),
}


class Sizes(NamedTuple):
  """What follows from the number of examples.

  Attributes:
    batch: examples of a step.
    epochs: in all.
    evaluate: epochs from one evaluation to the next.
  """

  batch: int
  epochs: float
  evaluate: float


def sizes(num_examples: int, *, learns_from_labels: bool) -> Sizes:
  """Returns batch and durations of a run on so many training examples.

  The batch is 64, of fewer than 128 examples the largest power of two that is at most half of them. Runs
  take about 700 steps, 1,400 where labels are learnt: on 832 to 4,000 examples validation scores rise no
  further. They are 5 to 400 whole epochs, evaluated four times.
  """
  batch = 64 if num_examples >= 128 else max(2, 2 ** int(math.log2(max(num_examples / 2, 2))))
  steps = 1400 if learns_from_labels else 700
  epochs = min(max(round(steps * batch / max(num_examples, 1)), 5), 400)
  return Sizes(batch, float(epochs), float(max(1, -(-epochs // 4))))


def get_config(argument: str) -> ConfigDict:
  """Returns the config of "method,folder".

  Raises:
    ValueError: no folder, or it holds no training data.
  """
  method, _, folder = argument.partition(",")
  if not folder:
    raise ValueError("--config: expected configs/arrays.py:METHOD,FOLDER, found no folder")
  shapes = _list_shapes(pathlib.Path(folder).expanduser() / "train.npz")
  config = stored_config(method, "arrays")
  images = any(len(shape) == 4 for shape in shapes.values())
  set_published(config, METHODS, method, "images" if images else "features")
  if config.model.trunk.name == "mlp":
    _follow(config)
  config.data.data_dir = folder
  config.evaluators = (*config.evaluators, "baselines")  # set it without to leave them out
  # Names to use, in fusion order, such as "('sensor', 'table')"; other arrays are ignored. (): all, and
  # arrays that may be no inputs are refused.
  config.data.modalities = ()
  # What labels hold: "classes", "multilabel": of several labels an example 0 and 1 in a column each,
  # "regression", or "none": they are not used; without any nothing is probed. Alone a kind is that of all
  # labels; "label_mood=classes,label_tags=multilabel" are of some. None: by the dtype, without doubt.
  config.data.label_kind = placeholder(str)
  # Which labels methods that learn from labels learn, "label_mood"; "": `label`, or the only ones.
  config.data.task = ""
  # Vectors and sequences: mean 0, deviation 1 of each feature over the training examples.
  config.data.standardize = True
  # See `synjax.data.array_views`; probability is of each operation. Noise is in deviations of a feature.
  config.data.views.update({"probability": 1.0, "noise_std": 0.3, "swap": 0.3})
  config.data.views.update({"drop_features": 0.0, "scale": 0.0, "crop": 0.0})
  add_padding(config)
  config.data.transform = ConfigDict(SIMCLR)
  config.data.resolution = max([32, *(shape[1] for shape in shapes.values() if len(shape) == 4)])
  for name, shape in shapes.items():
    encoder, adapter = _ENCODERS[len(shape)]
    config.model.modalities[name] = ConfigDict({"encoder": encoder, "adapter": {"name": adapter}})
  config.model.width = 64 if images else 128
  config.model.head_hidden, config.model.head_features = 128, 64
  (num_examples, *_), *_ = shapes.values()
  chosen = sizes(num_examples, learns_from_labels=learns_from_labels(method))
  config.batch_size, config.total_epochs = chosen.batch, chosen.epochs
  config.eval_epochs = config.checkpoint_epochs = chosen.evaluate
  config.probe.test_search = "coarse"
  config.select_metric = ""
  return config


def count_classes(folder: str) -> int | None:
  """Returns how many classes the training labels of a folder have; None where they cannot be counted."""
  with np.load(pathlib.Path(folder).expanduser() / "train.npz") as found:
    try:
      label = found["label"]
    except (KeyError, ValueError):  # there is none, or it is a pickle
      return None
  numbers = label.dtype.kind in "iu"
  return None if label.ndim != 1 else len(np.unique(label[label >= 0] if numbers else label))


class _Noted(FieldReference):
  """A value that is never None, and whether it was set.

  Attributes:
    given: True: somebody set it, maybe to what it was.
  """

  def __init__(self, default: Any):
    """Takes the default, which counts as not set."""
    super().__init__(default, required=True)
    self.given = False

  def set(self, value: Any, type_safe: bool = True) -> None:
    """Sets the value."""
    super().set(value, type_safe)
    self.given = True

  def __setstate__(self, state: dict[str, Any]) -> None:
    self.__dict__.update(state)  # the parent's keeps its own fields alone


class _Trunk(_Noted):
  """The name of the trunk, which follows other fields as long as it is not set."""

  def __init__(self, start: _Noted, transformer: Sequence[_Noted]):
    """Takes `initialize_from`, and fields that only a transformer has."""
    super().__init__("mlp")
    self._start, self._transformer = start, tuple(transformer)

  def get(self) -> str:
    """Returns what was set, else what the fields that are followed ask for."""
    asked = self._start.get() or any(field.given for field in self._transformer)
    return "transformer" if asked and not self.given else super().get()


def _follow(config: ConfigDict) -> None:
  """Lets the trunk follow whether there is a pre-trained fusion to take over, or one is described."""
  start = _Noted(config.initialize_from)
  transformer = {name: _Noted(config.model[name]) for name in _OF_TRANSFORMERS}
  config.initialize_from = start
  config.model.update(transformer)
  # mlp, until it is set: of a run that starts from another (initialize_from), or whose model.num_heads,
  # num_layers, pool or implementation is set, transformer, so that a pre-trained fusion is taken over.
  config.model.trunk.name = _Trunk(start, transformer.values())


def _list_shapes(path: pathlib.Path) -> dict[str, tuple[int, ...]]:
  """Returns the shapes of the arrays that can be modalities, from their headers alone."""
  try:
    with zipfile.ZipFile(path) as archive:
      headers = {
        name.removesuffix(".npy"): _read_header(archive, name)
        for name in archive.namelist()
        if name.endswith(".npy")
      }
  except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
    others = ", ".join(sorted(other.name for other in path.parent.glob("*.npz") if other != path))
    beside = f"; beside it are {others}: rename the one to train on" if others else ""
    if not path.parent.exists():
      known = [str(p) for p in path.parent.parent.glob("*") if (p / path.name).exists()]
      near = difflib.get_close_matches(str(path.parent), known, n=1)
      beside = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(
      f"--config: {path}: expected an archive written by numpy.savez, found none that can be read"
      f" ({error}){beside}; see README, Your own data"
    ) from error
  shapes = {
    name: shape
    for name, (shape, dtype) in headers.items()
    if len(shape) in _ENCODERS and dtype.kind in "fiub" and "." not in name
  }
  if not shapes:
    raise ValueError(
      f"--config: {path}: expected at least one modality, numbers of two to four axes, found"
      f" { {name: shape for name, (shape, _) in headers.items()} }"
    )
  return shapes


def _read_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
  """Returns (shape, dtype) of an array in an archive."""
  with archive.open(name) as file:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else None
    shape, _, dtype = (read or np.lib.format.read_array_header_2_0)(file)
  return shape, dtype
