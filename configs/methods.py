"""Every method that a config can name: its fields with default and meaning, and what it learns from.

Nowhere else does a config know methods: a dataset's file has one table `METHODS` of the values that
were published for it, see `set_published`. The classes are in `synjax/methods`.
"""

import difflib
import functools
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder


class Field(NamedTuple):
  """A field of `config.method`: its default, its meaning, and its type where it can be None."""

  default: Any
  meaning: str
  optional: type | None = None

  def make(self) -> Any:
    """Returns the default; None in a form, of this config alone, that remembers the type."""
    return self.default if self.optional is None else placeholder(self.optional)


class Settings(NamedTuple):
  """What a config must know of a method.

  Attributes:
    learns_from_labels: True: it is a classifier, and is scored as one.
    fields: of `config.method`.
  """

  learns_from_labels: bool
  fields: Mapping[str, Field] = {}


_COMM = {
  "temperature": Field(0.1, "tau > 0 of the cosines"),
  "weights": Field((), "of the loss terms in their order; (): all 1"),
}
_INFMASKING = _COMM | {
  "num_views": Field(6, "K >= 1, masked views of an example"),
  "mask_ratio": Field(0.7, "share of each modality's tokens that a view hides, in [0, 1)"),
  "mask_lambda": Field(1.0, "final rho >= 0, which scales the bound's variance and not the loss"),
  "ramp": Field("linear", "of rho: linear (published), or constant: mask_lambda throughout"),
}
_NT_XENT = {"temperature": _COMM["temperature"]}
_ONE_MODALITY = {"modality": Field("", "the one that is trained; empty: the first")}
_SUPERVISED = {
  # 1: published on real data (docs/spec/synib.md 1.1), also for the baseline without a penalty
  # (docs/spec/synib_release.md 1.18).
  "unimodal_weight": Field(1.0, "w >= 0 of the unimodal heads' losses; 0: they mean nothing"),
  "detach_unimodal": Field(False, "True: unimodal heads are probes that train no encoder"),
}
_PENALTY = {"penalty": Field(1.0, "lambda >= 0 of the penalty on confidence")}
_CORRUPTION = {
  "mask": Field("random", "random, oracle, oracle_active, learned, both, or full: everything"),
  "corrupt_probability": Field(0.5, "mask=random: of each entry, in [0, 1]"),
  "site": Field("latent", "where: input, latent (features before the fusion), token (whole ones)"),
  "fill": Field(
    "ema", "by what: noise, ema, zeros, shuffle; tokens also attention: hidden from it"
  ),
  "donors_learn": Field(
    False, "fill=shuffle: True: what stands in for others trains its encoder too"
  ),
  "learned_fill": Field("", "by what learned masks replace; empty: by fill"),
  "noise_scale": Field(1.0, "fill=ema: of its noise"),
  "num_corrupted": Field(None, "modalities a step, drawn afresh; None: each in turn", int),
  "mask_steps": Field(20, "mask=learned: T, steps of the inner loop"),
  "mask_lr": Field(0.1, "mask=learned: learning rate of the inner loop"),
  "gates": Field("hard", "mask=learned: hard, or soft: the relaxed ones (released)"),
  "corrupts": Field("complement", "mask=learned: of the flagged, or flagged: those (released)"),
  "mask_sparsity": Field(
    1.0, "mask=learned: nats per unit of the flagged share; < 0: of the others"
  ),
  "mask_sparsity_ramp_epochs": Field(
    0.0, "mask=learned: epochs in which it rises to that; 0: none"
  ),
  "mask_temperature": Field(1.0, "mask=learned: of the gates"),
  "mask_initial_logit": Field(-1.0, "mask=learned: of the gates"),
  "mask_schedule": Field("constant", "mask=learned: of the inner learning rate, or cosine"),
  "mask_clip": Field(None, "mask=learned: norm of inner gradients; None: not clipped", float),
  # Heads that know nothing flag nothing; what is random instead is so with p = 1/2 (docs/spec/synib.md
  # 2.6).
  "mask_warmup_epochs": Field(1.0, "mask=learned: epochs of random masks before the learned ones"),
  "mask_collapse_share": Field(
    0.9,
    "mask=learned: batches with more examples than this flagged all or nothing: random; 1: none",
  ),
}
_SYNIB = (
  _SUPERVISED
  | _CORRUPTION
  | _PENALTY
  | {
    "first_penalty": Field(1.0, "pi >= 0: factor where the first modality is corrupted"),
    "penalty_ramp_epochs": Field(0.0, "epochs in which lambda rises to its value; 0: none"),
    "reference": Field("uniform", "or class_prior, unimodal (heads), ema_unimodal (running copy)"),
    "anchor": Field("intact", "reference=unimodal: of intact modalities, or corrupted (released)"),
    "direction": Field("q||r", "of the divergence, or r||q"),
    "family": Field(
      "categorical", "of the penalty; gaussian_logits, dirichlet: the released forms"
    ),
    "kl_updates_encoders": Field(True, "False: the penalty trains trunk and heads only"),
    "learned_updates_encoders": Field(True, "False: that of learned masks trains those only"),
  }
)
_VARIANT = {"variant": Field("paper", "what the fields say; released_symmetric, released_anchor")}
_HEADS = {"unimodal_weight": _SUPERVISED["unimodal_weight"]}
METHODS: Mapping[str, Settings] = {
  "comm": Settings(False, _COMM),
  "infmasking": Settings(False, _INFMASKING),
  "cross": Settings(False),
  "cross_self": Settings(
    False, _NT_XENT | {"self_weight": Field(1.0, "w >= 0 of the terms within modalities")}
  ),
  "cmc": Settings(False, _NT_XENT),
  "simclr": Settings(False, _NT_XENT | _ONE_MODALITY),
  "supcon": Settings(False, {"temperature": Field(0.5, _COMM["temperature"].meaning)}),
  "clip": Settings(False),
  "slip": Settings(
    False,
    _NT_XENT
    | {
      "self_weight": Field(1.0, "w >= 0 of the term within a modality"),
      "self_modality": Field("", "the one whose views are compared; empty: the first"),
    },
  ),
  "mae": Settings(
    False,
    {
      "mask_ratio": Field(0.75, "share of an example's tokens that is hidden, in (0, 1)"),
      "patch": Field(16, "side of an image's patches in pixels; divides the image's sides"),
      "encoder_layers": Field(6, "blocks of the encoder, of width model.width"),
      "decoder_layers": Field(2, "blocks of each modality's decoder"),
      "decoder_width": Field(256, "of the decoders"),
    },
  ),
  "factorcl": Settings(False),
  "factorcl_sup": Settings(False),
  "supervised": Settings(True, _SUPERVISED),
  "finetune": Settings(True),
  "unimodal": Settings(True, _ONE_MODALITY),
  "ensemble": Settings(True),
  "synib": Settings(True, _SYNIB | _VARIANT),
  "full_corruption": Settings(True, _SYNIB | {"mask": Field("full", "full, and nothing else")}),
  "confidence_penalty": Settings(True, _SUPERVISED | _PENALTY),
  "masked_augmentation": Settings(
    True,
    _SYNIB
    | {
      "site": Field("input", "input; variant=released: latent"),
      "variant": Field("paper", "copies of inputs; released: of features, heads on intact ones"),
    },
  ),
  "multi_loss": Settings(True, _HEADS),
  "ogm_ge": Settings(
    True,
    _HEADS
    | {
      "variant": Field(
        "paper", "modulates matrices; official: 4-D kernels alone; released: nothing"
      ),
      "alpha": Field(0.8, "alpha >= 0 (published: 0.8 CREMA-D, 0.1 VGGSound): damps who is ahead"),
      "noise": Field(True, "GE: noise as large as the gradient; False: OGM alone"),
      "first_epoch": Field(0, "of the epochs with modulation, counted from 0"),
      "last_epoch": Field(50, "of the epochs with modulation, itself included"),
    },
  ),
  "mmpareto": Settings(
    True, _HEADS | {"gamma": Field(1.5, "gamma >= 0, factor of the encoders' gradients")}
  ),
  "mcr": Settings(
    True,
    _HEADS
    | {
      "variant": Field("paper", "or released: SynIB's configs, whose regulariser is off"),
      "strategy": Field("greedy", "of R (all published runs), or independent, collaborative"),
      "mipd_weight": Field(0.1, "lambda >= 0 of R, the effects of permuted modalities"),
      "contrast_weight": Field(1.0, "a_c >= 0 of the contrastive term"),
      "decoder_weight": Field(
        0.0, "a_g >= 0 of features decoded from logits; half the runs have 1"
      ),
      "num_permutations": Field(32, "K >= 1 of each modality's latents in a batch"),
    },
  ),
  "reconboost": Settings(
    True,
    {
      "variant": Field("paper", "official: no gradient of alpha's term; released: SynIB's code"),
      "w1": Field(5.0, "of the boosted cross-entropy"),
      "w2": Field(1.0, "of its reconcilement with what the others know"),
      "alpha": Field(0.5, "alpha >= 0: variant=paper pulls the modalities' predictions together"),
      "boosting_epochs": Field(4, "E1 >= 1 of one modality's turn"),
      "ensemble_epochs": Field(4, "E2 >= 0 of all of them after it"),
    },
  ),
  "diagnose_relearn": Settings(
    True,
    _HEADS
    | {
      "variant": Field("paper", "or released: heads train encoders, and go back with them"),
      "strength": Field(3.0, "lambda >= 0: how far encoders go back for a gap of purities"),
      "relearn_every": Field(20, "epochs between two re-learnings (SynIB's release: 10)"),
      "relearn_times": Field(3, "R >= 0, how often at most"),
      "clusters": Field(None, "of k-means; None: as many as classes", int),
    },
  ),
}


def method_config(name: str, **fields: Any) -> ConfigDict:
  """Returns `config.method`: the defaults of a method with some fields replaced.

  Fields of other methods are left out.

  Raises:
    ValueError: unknown method, or a field that no method has.
  """
  require("method", name, METHODS)
  every = {field for settings in METHODS.values() for field in settings.fields}
  for field in fields:  # of another method: left out; of none: misspelt
    require("config.method", field, every)
  defaults = {field: known.make() for field, known in METHODS[name].fields.items()}
  known = {field: value for field, value in fields.items() if field in defaults}
  return ConfigDict({"name": name, **defaults, **known})


def set_published(
  config: ConfigDict, table: Mapping[str, Mapping[str, Any]], method: str, preset: str = ""
) -> None:
  """Sets the values that were published for a method on a dataset.

  Args:
    config: of the method; changed in place.
    table: "method" or "method,preset" -> dotted config field -> value; the preset's come last.
    method: its name.
    preset: of the dataset's file.

  Raises:
    ValueError: a field that the config has not.
  """
  for key in (method, f"{method},{preset}"):
    for field, value in table.get(key, {}).items():
      *sections, name = field.split(".")
      section = functools.reduce(ConfigDict.__getitem__, sections, config)
      require(f"METHODS[{key!r}]", name, section)
      section[name] = value


def learns_from_labels(name: str) -> bool:
  """Says whether a method is a classifier, to be scored as one; ValueError for an unknown one."""
  require("method", name, METHODS)
  return METHODS[name].learns_from_labels


def describe_field(method: str, field: str) -> str:
  """Returns the meaning of a dotted config field where it is one of the method's, else ""."""
  section, _, name = field.partition(".")
  known = METHODS[method].fields if section == "method" else {}
  return known[name].meaning if name in known else ""


def require(what: str, found: str, known: Collection[str]) -> None:
  """Raises ValueError, with the nearest name, for one that is not among the known."""
  if found not in known:
    near = difflib.get_close_matches(found, known, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    raise ValueError(f"{what}: expected one of {', '.join(sorted(known))}, found {found!r}{hint}")
