"""Fields of every stored dataset; the files of the datasets fill in the rest."""

from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.common import SIMCLR, base_config
from configs.methods import learns_from_labels, method_config

TINY = "tiny"  # preset of the smallest encoders that find what a fixture plants
_SMALL = {"num_layers": 1, "hidden": 128}
TOWER = {"weights": "", "size": ""}  # fields of an encoder whose weights a folder may have


def stored_config(method: str, name: str) -> ConfigDict:
  """Returns the fields that all stored datasets share (docs/spec/infmasking.md 6, 7, 10).

  Args:
    method: name of the method.
    name: of the dataset in `synjax.data`.
  """
  config = base_config()
  config.method = method_config(method)
  config.data.name = name
  config.data.data_dir = "~/.cache/synjax/tfds"  # where `data_prep.convert --data_dir` wrote
  config.data.modalities = ()
  # Splits, or cached features in their place, that are larger than this together are streamed.
  config.data.resident_gb = 4.0
  config.data.read_threads = 4  # of a stream
  config.data.views = ConfigDict({"probability": 0.5, "drop_fraction": 0.8, "noise_std": 0.1})

  config.optim.lr = 1e-3
  config.optim.weight_decay = 1e-2
  config.total_epochs = 100.0
  config.log_epochs = 1.0
  config.eval_epochs = 1.0
  config.checkpoint_epochs = 1.0
  if learns_from_labels(method):
    config.evaluators = ("classification",)
    config.select_metric = "val/label/macro_accuracy"
  else:
    config.select_metric = "val/mean/macro_accuracy"
  return config


def add_padding(config: ConfigDict) -> None:
  """Adds the fields of datasets whose modalities are sequences of different lengths."""
  # "fixed", "bucket" or "batch_max" (published, and padding is not marked); None: as the protocol says.
  config.data.padding = placeholder(str)
  config.data.buckets = (10, 20, 30, 50)  # "bucket" only


def multibench_config(method: str, name: str) -> ConfigDict:
  """Returns the fields that all datasets of `synjax.data.multibench` share, as `stored_config`."""
  config = stored_config(method, name)
  config.data.tasks = ()  # the first classification is what methods with labels learn
  # NaN and infinities: "parity": as converted; "clean": 0, and |x| <= 1e6. None: as the protocol says.
  config.data.nonfinite = placeholder(str)
  return config


def add_pictures_and_texts(config: ConfigDict, *, max_length: int, mask_tokens: float) -> None:
  """Adds the fields of datasets of pictures and texts, which frozen towers read."""
  add_padding(config)
  config.data.resolution = 224  # rows and columns of an image
  config.data.transform = ConfigDict(SIMCLR)
  config.data.max_length = max_length  # tokens; longer texts keep their first
  # Folder of tokenizer.json or spm.model; "": that of the text tower's weights.
  config.data.tokenizer = ""
  config.data.mask_tokens = mask_tokens  # of each token of a training view
  config.optim.frozen = ("encoders_image", "encoders_text")


def shrink(config: ConfigDict) -> None:
  """Replaces towers by the smallest ones, trained from scratch, for fixtures on a CPU: preset `tiny`."""
  for modality in config.model.modalities.values():
    modality.encoder.size = TINY
  config.data.resolution = 32
  config.optim.frozen = ()
  config.model.width = 32
  config.model.num_heads, config.model.num_layers = 4, 1
  config.optim.lr, config.optim.schedule = 2e-3, "constant"
  config.batch_size = 32


def set_modalities(config: ConfigDict, parts: Mapping[str, tuple[Mapping, str]]) -> None:
  """Sets the modalities in fusion order: name -> (encoder's fields, adapter's name)."""
  config.data.modalities = tuple(parts)
  for name, (encoder, adapter) in parts.items():
    config.model.modalities[name] = ConfigDict({"encoder": encoder, "adapter": {"name": adapter}})


def affect_config(
  method: str, name: str, preset: str, modalities: Mapping[str, Sequence[str]], *, max_length: int
) -> ConfigDict:
  """Returns a config of MOSI, MOSEI, UR-FUNNY or MUStARD: a transformer of width 40 per modality.

  Args:
    method: its name.
    name: of the dataset.
    preset: one of `modalities`.
    modalities: preset -> names, in fusion order.
    max_length: steps of a sequence.
  """
  config = multibench_config(method, name)
  add_padding(config)
  config.data.max_length = max_length  # steps; longer sequences keep their first
  config.data.z_norm = False  # standardise each feature over the steps of an example
  config.data.label_rule = "gt0"  # positive: a score above 0; "ge0": 0 too
  encoder = {"name": "sequence_transformer", "num_heads": 5} | (_SMALL if preset == TINY else {})
  set_modalities(config, dict.fromkeys(modalities[preset], (encoder, "sequence")))
  config.model.width = 40
  if len(modalities[preset]) == 3:
    config.early_stop_patience = 20
  return config
