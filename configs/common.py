"""Fields that every experiment has, with their defaults and meaning. Imports no model code."""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.methods import require

# Views of images, docs/spec/infmasking.md 7.1.
SIMCLR = {
  "crop_scale": (0.08, 1.0),  # share of the image's area in a crop
  "jitter_probability": 0.8,
  "jitter_strength": 0.4,  # of brightness, contrast and saturation
  "hue": 0.1,  # in turns
  "grayscale_probability": 0.2,
  "blur_probability": 0.5,
  "blur_radius": (0.1, 2.0),  # pixels at size 224
  "flip_probability": 0.5,
}


def base_config() -> ConfigDict:
  """Returns the fields of a run; files beside this one fill in data, model and method."""
  config = ConfigDict()
  config.seed = 42  # first seed
  config.num_seeds = 1  # seeds seed, seed + 1, ... are trained together, under vmap
  config.protocol = "clean"  # "clean", or "paper": the published procedure, quirks included

  config.parallel = "jit"  # "jit": one device, or several through sharding; "pmap"
  config.num_devices = placeholder(int)  # None: all devices jax sees
  config.dtype = "float32"  # compute dtype; "bfloat16" keeps parameters and reductions in float32

  config.batch_size = 64  # of the whole run, all devices together
  config.keep_partial_batch = (
    False  # the last batch of an epoch, filled up: supervised methods only
  )
  config.eval_batch_size = 64
  # Training steps in one compiled call; None: 16, or 1 on a CPU, where a loop is slow.
  config.steps_per_call = placeholder(int)
  # Durations: exactly one of <name>_epochs and <name>_steps is set.
  config.total_epochs = placeholder(float)
  config.total_steps = placeholder(int)
  config.log_epochs = placeholder(float)
  config.log_steps = placeholder(int)
  config.eval_epochs = placeholder(float)
  config.eval_steps = placeholder(int)
  config.checkpoint_epochs = placeholder(float)
  config.checkpoint_steps = placeholder(int)

  # Workdir of a run that every method may start from, seed by seed, with the encoders, adapters, unimodal
  # heads and fusion that it has too; "": from scratch.
  config.initialize_from = ""
  config.initialize_from_other_data = False  # True: although that run was trained on other data
  config.evaluators = ("representation",)  # and / or "classification"
  config.evaluate_train = False  # "classification": score the training split at each evaluation too
  config.ntk_diagnostics = (
    False  # learning signal of each source at every step (supervised methods)
  )
  # Masks an example, of 64 validation examples at each evaluation, to see how Gaussian masked views
  # are (infmasking); 0: off.
  config.gaussianity_masks = 0
  # Validation metric that picks the checkpoint, higher is better; "-NAME": lower is better; "last": the
  # last one. "": by the labels, macro accuracy of classes, MSE of numbers, "last" without labels.
  config.select_metric = ""
  config.early_stop_patience = placeholder(int)  # evaluations without improvement; None: never stop
  # Validation metrics of which one has to improve, named like select_metric; (): select_metric alone.
  config.early_stop_metrics = ()

  config.optim = ConfigDict()
  config.optim.name = "adamw"  # "adamw"; "adam", "sgd": decay as an L2 term of the gradient
  config.optim.lr = 1e-3
  config.optim.weight_decay = 1e-2
  config.optim.eps = 1e-8
  config.optim.momentum = 0.9  # "sgd" only
  # "constant"; "warmup_cosine"; "constant_restarts": SynIB's on real data; "step": lr falls by epochs
  config.optim.schedule = "constant"
  config.optim.warmup_epochs = 10  # "warmup_cosine" only
  config.optim.lr_min = 1e-6  # "warmup_cosine" only
  config.optim.constant_steps = 780  # "constant_restarts" only: before the restarts
  config.optim.decay_epochs = 70  # "step" only: from one fall to the next
  config.optim.decay_factor = 0.1  # "step" only: of a fall
  # Starts of paths of parameters that are not trained, whole names joined by slashes, such as
  # "('encoders_image', 'trunk/fusion')"; running statistics and dropout go on as in training.
  config.optim.frozen = ()
  # (Start of paths, factor) pairs that multiply the learning rate, such as "(('encoders_text', 0.1),)".
  config.optim.lr_scales = ()
  config.optim.layer_decay = 1.0  # of an encoder's learning rate from each layer to the one below
  config.optim.clip_norm = placeholder(float)  # largest norm of the whole gradient; None: any
  # Batches whose mean gradient is one update; refused for losses that compare the examples of a batch.
  config.optim.accumulate = 1

  config.model = ConfigDict()
  config.model.width = 512  # of tokens and of the representation
  config.model.num_heads = 8
  config.model.num_layers = 1
  config.model.pool = "cls"  # "cls" or "mean"
  config.model.implementation = "exact"  # "exact", or "dense": the literal definition
  config.model.trunk = ConfigDict({"name": "transformer", "hidden": (64,), "dropout": 0.0})
  config.model.single_logit = False  # supervised: two classes as one logit
  config.model.unimodal_hidden = ()  # supervised: hidden widths of the unimodal heads
  config.model.normalize_features = False  # supervised: LayerNorm without parameters before fusion
  config.model.head_hidden = 512
  config.model.head_features = 256
  config.model.modalities = ConfigDict()

  config.probe = ConfigDict()
  # Costs tried at each evaluation: "coarse" or "fine"; None: as the protocol says (`paper`: "fine").
  config.probe.validation_search = placeholder(str)
  config.probe.test_search = "fine"  # costs tried for the final scores
  config.probe.neighbors = 20  # of the nearest-neighbour score

  config.data = ConfigDict()
  # Computes what frozen towers with weights make of the data once, and keeps it on disk.
  config.data.cache_features = False
  config.data.cache_dir = ""  # where that and token ids are kept; "": ~/.cache/synjax
  # rho > 0: of N examples of C classes, rho N / C get a modality of another one and the class "irony"
  # (`synjax.data.irony`). The modality, "": the first; and a seed beside that of the run.
  config.data.irony = 0.0
  config.data.irony_modality = ""
  config.data.irony_seed = 0
  return config


def split_argument(argument: str, presets: tuple[str, ...]) -> tuple[str, str]:
  """Splits "method,preset" of `--config=file.py:method,preset`; the first preset is the default.

  Raises:
    ValueError: unknown preset.
  """
  method, _, preset = argument.partition(",")
  preset = preset or presets[0]
  require("--config: the preset after the comma", preset, presets)
  return method, preset
