"""Fields that cannot matter beside others: set, they make another run of the same numbers."""

import dataclasses
from collections.abc import Callable

from ml_collections import ConfigDict

from synjax import methods
from synjax.config.flat_fields import flat
from synjax.methods import synib_variants


@dataclasses.dataclass(frozen=True)
class Rule:
  """When some fields matter.

  Attributes:
    fields: dotted names, or of a section whose fields they all are.
    matters: from a config to whether they can.
    reason: why not, else.
  """

  fields: tuple[str, ...]
  matters: Callable[[ConfigDict], bool]
  reason: str


def _learns_from_labels(config) -> bool:
  return methods.find(config).learns_from_labels


def _fuses(config) -> bool:
  """Says whether the method has a fusion: all but the models of one modality each."""
  return methods.find(config).fuses


def _fuses_tokens(config) -> bool:
  trunk = config.model.trunk.name
  return _fuses(config) and (not _learns_from_labels(config) or trunk == "transformer")


def _penalises(config) -> bool:
  return config.method.name != "masked_augmentation"


def _is_categorical(config) -> bool:
  return _penalises(config) and config.method.get("family") in (None, "categorical")


def _masks(config) -> tuple[str, ...]:
  mask = config.method.mask
  return ("random", "learned") if mask == "both" else (mask,)


def _learns_masks(config) -> bool:
  return "learned" in _masks(config)


def _fills(config) -> set[str]:
  """Returns by what a method with masks replaces."""
  own = {"learned": config.method.learned_fill}
  return {own.get(mask, "") or config.method.fill for mask in _masks(config)}


def _balances(config) -> bool:
  """Says whether a balancing method does more than train: SynIB's release switches some of them off."""
  return config.method.get("variant") != "released"


def _padding(config) -> str | None:
  published = "batch_max" if config.protocol == "paper" else "fixed"
  return config.data.padding or published


def _used(config) -> tuple[str, ...]:
  """Returns the modalities that a run trains on, as far as its config alone says."""
  names = tuple(config.data.get("modalities") or config.model.modalities)
  return (config.method.get("modality"),) if config.method.get("modality") else names


def _encoders(config) -> set[str]:
  modalities = config.model.modalities
  return {modalities[name].encoder.name for name in _used(config) if name in modalities}


def _reads_width(config) -> bool:
  """Says whether tokens, or vectors that are made of maps and sequences, have `model.width`."""
  tokens = config.model.trunk.name == "transformer"
  method = methods.find(config)
  reads_tokens = tokens if method.learns_from_labels else method.fuses or not method.head_fields
  return reads_tokens or bool(_encoders(config) & {*IMAGE_ENCODERS, "sequence_transformer"})


def _trains_on_views(config) -> bool:
  return methods.find(config).views != ("clean",)


IMAGE_ENCODERS = ("alexnet", "clip_vision", "patch_convnet", "resnet18", "resnet50")
SEQUENCE_ENCODERS = ("force", "gru", "sequence_transformer")
_LEARNED = tuple(
  f"method.mask_{name}"
  for name in (
    *("steps", "lr", "sparsity", "temperature", "initial_logit", "schedule", "clip"),
    *("warmup_epochs", "collapse_share", "sparsity_ramp_epochs"),
  )
)
RULES = (
  Rule(
    (
      *("method.penalty", "method.reference", "method.direction", "method.family", "method.anchor"),
      *("method.first_penalty", "method.penalty_ramp_epochs"),
    ),
    _penalises,
    "masked_augmentation has no penalty",
  ),
  Rule(("method.num_corrupted",), _penalises, "masked_augmentation has a copy for every modality"),
  Rule(
    ("method.reference", "method.direction"),
    _is_categorical,
    "only method.family=categorical has a reference",
  ),
  Rule(
    ("method.anchor",),
    lambda config: _is_categorical(config) and config.method.reference.endswith("unimodal"),
    "only method.reference=unimodal or ema_unimodal asks a modality",
  ),
  Rule(
    ("method.detach_unimodal",),
    lambda config: config.method.get("unimodal_weight") != 0,
    "method.unimodal_weight=0 leaves no unimodal loss whose gradient could stop",
  ),
  Rule(
    ("method.strength",),
    lambda config: config.method.get("relearn_times") != 0,
    "method.relearn_times=0: nothing is re-learned",
  ),
  Rule(
    ("method.relearn_times",),
    lambda config: config.method.strength != 0,
    "method.strength=0: nothing is re-learned",
  ),
  Rule(
    ("method.relearn_every", "method.clusters"),
    lambda config: 0 not in (config.method.strength, config.method.relearn_times),
    "nothing is re-learned: method.strength or method.relearn_times is 0",
  ),
  Rule(
    ("method.corrupt_probability",),
    lambda config: "random" in _masks(config),
    "only method.mask=random draws by it",
  ),
  Rule(
    (
      *(*_LEARNED, "method.gates", "method.corrupts", "method.learned_fill"),
      "method.learned_updates_encoders",
    ),
    _learns_masks,
    "only method.mask=learned learns one",
  ),
  Rule(
    ("method.noise_scale",),
    lambda config: "ema" in _fills(config),
    "only method.fill=ema scales its noise",
  ),
  Rule(
    ("method.fill",),
    lambda config: config.method.fill in _fills(config),
    "method.learned_fill says by what learned masks replace",
  ),
  Rule(
    ("method.donors_learn",),
    lambda config: "shuffle" in _fills(config),
    "only method.fill=shuffle has donors",
  ),
  Rule(
    (
      *("method.strategy", "method.mipd_weight", "method.contrast_weight", "method.decoder_weight"),
      *("method.num_permutations", "method.alpha", "method.noise", "method.first_epoch"),
      "method.last_epoch",
    ),
    _balances,
    "method.variant=released has it switched off",
  ),
  Rule(
    ("method.alpha",),
    lambda config: config.method.name != "reconboost" or config.method.variant == "paper",
    "only method.variant=paper has a gradient of its term",
  ),
  Rule(
    ("model.single_logit", "model.unimodal_hidden", "model.normalize_features", "model.trunk"),
    _learns_from_labels,
    "only methods that learn from labels have a classifier",
  ),
  Rule(
    ("model.unimodal_hidden",),
    lambda config: not methods.find(config).fine_tunes,
    "a classifier on a pre-trained representation has no unimodal heads",
  ),
  Rule(
    ("model.trunk.hidden",),
    lambda config: _fuses(config) and config.model.trunk.name == "mlp",
    "only the mlp trunk of a method that fuses has them",
  ),
  Rule(
    ("model.trunk.dropout",),  # where a config file has some, another trunk needs it to be 0
    lambda config: (
      _fuses(config) and config.model.trunk.name == "mlp" or not config.model.trunk.dropout
    ),
    "only the mlp trunk of a method that fuses has them",
  ),
  Rule(
    ("model.head_hidden",),
    lambda config: "head_hidden" in methods.find(config).head_fields,
    "the method has no projection head with a hidden layer",
  ),
  Rule(
    ("model.head_features",),
    lambda config: "head_features" in methods.find(config).head_fields,
    "the method has no projection head of that width",
  ),
  Rule(
    ("model.num_heads", "model.num_layers", "model.pool", "model.implementation"),
    _fuses_tokens,
    "there is no fusion transformer",
  ),
  Rule(
    ("model.num_layers", "model.implementation", "model.modalities"),
    lambda config: not methods.find(config).tokenizes,
    "the method makes tokens of the inputs, for a transformer of method.encoder_layers",
  ),
  Rule(
    ("optim.warmup_epochs", "optim.lr_min"),
    lambda config: config.optim.schedule == "warmup_cosine",
    "only optim.schedule=warmup_cosine reads them",
  ),
  Rule(
    ("optim.constant_steps",),
    lambda config: config.optim.schedule == "constant_restarts",
    "only optim.schedule=constant_restarts reads them",
  ),
  Rule(
    ("optim.decay_epochs", "optim.decay_factor"),
    lambda config: config.optim.schedule == "step",
    "only optim.schedule=step reads them",
  ),
  Rule(
    ("optim.momentum",),
    lambda config: config.optim.name == "sgd",
    "only optim.name=sgd has it as a field",
  ),
  Rule(
    ("optim.eps",), lambda config: config.optim.name != "sgd", "optim.name=sgd divides by nothing"
  ),
  Rule(
    ("early_stop_metrics",),
    lambda config: config.early_stop_patience is not None,
    "without early_stop_patience no run stops early",
  ),
  Rule(
    ("probe.test_search",),
    lambda config: bool({"representation", "baselines"} & {*config.evaluators}),
    "config.evaluators has neither representation nor baselines, which are probed",
  ),
  Rule(
    ("probe.validation_search",),
    lambda config: "representation" in config.evaluators,
    "config.evaluators has no representation, which is probed at each evaluation",
  ),
  Rule(
    ("evaluate_train",),
    lambda config: "classification" in config.evaluators,
    "config.evaluators has no classification to score",
  ),
  Rule(
    ("early_stop_patience",),
    lambda config: config.select_metric != "last" or bool(config.early_stop_metrics),
    "select_metric=last improves with every step, so that nothing stops early",
  ),
  Rule(
    ("initialize_from_other_data",),
    lambda config: bool(config.initialize_from),
    "initialize_from names no run",
  ),
  Rule(
    ("model.width",),
    _reads_width,
    "vectors are read, whose widths the encoders give themselves",
  ),
  Rule(
    ("data.padding", "data.buckets"),
    lambda config: bool(_encoders(config) & {*SEQUENCE_ENCODERS}),
    "no modality is a sequence, so that nothing is padded",
  ),
  Rule(
    ("data.buckets",),
    lambda config: _padding(config) == "bucket",
    "only data.padding=bucket has buckets",
  ),
  Rule(
    ("data.views", "data.transform"),
    _trains_on_views,
    "the method trains on inputs as they are, and not on views",
  ),
  Rule(
    ("data.views",),
    lambda config: bool(_encoders(config) - {*IMAGE_ENCODERS}),
    "all modalities are images, whose views data.transform describes",
  ),
  Rule(
    ("data.standardize",),
    lambda config: bool(_encoders(config) - {*IMAGE_ENCODERS}),
    "all modalities are images, whose colours are normalised",
  ),
  Rule(
    ("data.views.drop_fraction", "data.views.crop"),
    lambda config: bool(_encoders(config) & {*SEQUENCE_ENCODERS}),
    "no modality is a sequence, of which steps could be dropped",
  ),
  Rule(
    ("data.transform", "data.resolution", "method.patch"),
    lambda config: bool(_encoders(config) & {*IMAGE_ENCODERS}),
    "no modality is an image",
  ),
  Rule(
    ("data.task",),
    lambda config: methods.find(config).reads_labels or bool(config.data.get("irony")),
    "only methods that learn from labels read one; the others are scored on every task",
  ),
  Rule(
    ("data.mixing_seed",),
    lambda config: config.data.mixing != "none",
    "data.mixing=none has no map that is drawn",
  ),
  Rule(
    ("data.mixing_scale",),
    lambda config: config.data.mixing == "tanh",
    "only data.mixing=tanh scales",
  ),
  Rule(
    ("data.label_rule",),
    lambda config: tuple(config.data.tasks) != ("score",),
    "only classes are made of scores by a rule, and data.tasks has none",
  ),
  Rule(
    ("data.irony_modality", "data.irony_seed"),
    lambda config: bool(config.data.get("irony")),
    "data.irony is 0, no example is changed",
  ),
  Rule(
    ("data.icd9_group",),
    lambda config: not config.data.tasks or "icd9" in config.data.tasks,
    "data.tasks has no icd9",
  ),
)


def reason(config: ConfigDict, field: str) -> str | None:
  """Returns why a field of a config cannot matter beside its others; None: it can.

  Raises:
    ValueError: unknown method.
  """
  variant = config.method.get("variant", "paper")
  fixed = synib_variants.fields_of(config.method.name, variant, config.model.trunk.name)
  if field.removeprefix("method.") in fixed:
    return f"method.variant={variant} says it"
  config = synib_variants.resolve(config)
  modality = field.removeprefix("model.modalities.").partition(".")[0]
  if field.startswith("model.modalities.") and modality not in _used(config):
    return f"the run does not use the modality {modality}"
  for rule in RULES:
    named = any(field == name or field.startswith(f"{name}.") for name in rule.fields)
    if named and not rule.matters(config):
      return rule.reason
  return None


def refuse(config: ConfigDict, untouched: ConfigDict) -> None:
  """Refuses fields that were set although they cannot matter.

  Args:
    config: the config of a run.
    untouched: what its config file returns, before anything was set. What the file itself sets, for when
      it matters, is nobody's mistake.

  Raises:
    ValueError: naming the first such field, and why it cannot matter.
  """
  before = flat(untouched)
  for field, value in flat(config).items():
    if field in before and value != before[field]:
      why = reason(config, field)
      if why is not None:
        raise ValueError(
          f"config.{field}: {why}: expected {before[field]!r}, as in the config file, found {value!r},"
          " which would change nothing; do not set it"
        )
