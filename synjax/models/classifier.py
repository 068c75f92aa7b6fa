"""Multimodal classifiers: encoders, a fusion trunk, a class head, and a head of each modality alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from synjax.data import fields
from synjax.models.backbone import (
  Backbone,
  Features,
  Valid,
  build_modules,
  join_tokens,
  mean_of_tokens,
  valid_tokens,
)
from synjax.models.layers import Dense
from synjax.models.multimodal import create_fusion
from synjax.models.precision import compute_dtype
from synjax.models.trunks import AdditiveTrunk, MLPTrunk, TransformerTrunk

TRUNKS = ("additive", "mlp", "transformer")


class ClassHead(nn.Module):
  """Dense-ReLU for each hidden width, then class scores.

  Attributes:
    num_classes: number of classes.
    hidden: widths before the scores.
    single_logit: two classes as logits (0, f): softmax of them is the sigmoid of f, so that cross
      entropy and KL are the Bernoulli ones (SynIB's synthetic studies).
    dtype: computation type.
  """

  num_classes: int
  hidden: tuple[int, ...] = ()
  single_logit: bool = False
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [batch, width] to logits [batch, num_classes]."""
    for i, width in enumerate(self.hidden):
      x = nn.relu(Dense(width, dtype=self.dtype, name=f"layer{i + 1}")(x))
    outputs = Dense(1 if self.single_logit else self.num_classes, dtype=self.dtype, name="scores")(
      x
    )
    return jnp.pad(outputs, ((0, 0), (1, 0))) if self.single_logit else outputs


class Classifier(Backbone):
  """Encoders -> features of each modality -> trunk -> class head; a unimodal head on each feature.

  Attributes:
    encoders: see `Backbone`.
    adapters: used by trunks that read tokens, and to average maps and sequences for those that read
      vectors.
    trunk: one of `synjax.models.trunks`.
    head: class head on the trunk's feature.
    unimodal_heads: modality -> class head on that modality's feature (tokens: on their mean); or none.
    log_variance: head on the trunk's feature for the Gaussian form of the penalty, or None.
    normalize: LayerNorm without parameters on every feature, as the released real-data code has.
  """

  trunk: nn.Module
  head: ClassHead
  unimodal_heads: Mapping[str, ClassHead]
  log_variance: nn.Module | None = None
  normalize: bool = False

  def encode(
    self,
    batch: Mapping[str, jax.Array],
    *,
    train: bool = False,
    axis: str | None = None,
    counted: jax.Array | None = None,
  ) -> tuple[Features, Valid]:
    """Encodes the modalities present in `batch`.

    Args:
      batch: modality -> [batch, ...].
      train: training mode.
      axis: device axis of batch statistics, or None.
      counted: bool[batch], False = filler, which no batch statistic counts; None: no filler.

    Returns:
      (what the trunk reads of each modality, what of it is real). The vector of an absent modality is 0:
      it adds nothing to a linear map.
    """
    features, valid = {}, {}
    for name in self.present_modalities(batch):
      found = self.outputs(batch, name, train=train, axis=axis, counted=counted)
      if self.trunk.reads_tokens:
        x = self.adapted(name, found.features)
        real = valid_tokens(found.valid, x)
      else:
        x, real = self.vector(name, found), fields.present(batch, name)
      if self.normalize:
        x = _normalize(x)
      if real is not None and x.ndim == 2:
        x = jnp.where(real[:, None], x, 0)
      features[name] = x
      if real is not None:
        valid[name] = real
    return features, valid

  def fuse(
    self,
    features: Features,
    valid: Valid,
    key_bias: Mapping[str, jax.Array],
    *,
    train: bool = False,
  ) -> tuple[jax.Array, jax.Array]:
    """Fuses features.

    Args:
      features: of `encode`.
      valid: of `encode`.
      key_bias: modality -> float[batch, length], added to the attention logits of its tokens; only
        for a trunk that reads tokens; modalities without bias may be absent.
      train: dropout on.

    Returns:
      (feature of the trunk [batch, width], logits [batch, classes]).
    """
    features = {name: features[name] for name in self.present_modalities(features)}
    joined = {}
    if self.trunk.reads_tokens:
      joined["valid"] = join_tokens(features, valid, True)
      joined["key_bias"] = join_tokens(features, key_bias, 0.0)
    feature = self.trunk(list(features.values()), **joined, train=train)
    return feature, self.head(feature)

  def unimodal(self, name: str, feature: jax.Array, weight: jax.Array | None = None) -> jax.Array:
    """Scores one modality alone.

    Args:
      name: the modality.
      feature: of `encode`.
      weight: [batch, length] bool or float, how much a token counts in the mean; None: all alike.

    Returns:
      Logits [batch, classes].
    """
    pooled = feature if feature.ndim == 2 else mean_of_tokens(feature, weight)
    return self.unimodal_heads[name](pooled)

  def log_variances(self, feature: jax.Array) -> jax.Array:
    """Returns the log-variances [batch, classes] of the Gaussian form, from the trunk's feature."""
    return self.log_variance(feature)

  def initialize(self, batch: Mapping[str, jax.Array]):
    """Touches every parameter once, for `init`."""
    features, valid = self.encode(batch)
    heads = [name for name in features if name in self.unimodal_heads]
    unimodal = [self.unimodal(name, features[name]) for name in heads]
    feature, logits = self.fuse(features, valid, {})
    return logits, unimodal, None if self.log_variance is None else self.log_variances(feature)


def _normalize(x: jax.Array) -> jax.Array:
  """LayerNorm without parameters over the last axis: (x - mean) / sqrt(variance + 1e-5), in float32."""
  centred = x.astype(jnp.float32)
  centred -= centred.mean(axis=-1, keepdims=True)
  variance = jnp.square(centred).mean(axis=-1, keepdims=True)
  return (centred * jax.lax.rsqrt(variance + 1e-5)).astype(x.dtype)


def create_classifier(
  config: ConfigDict,
  modalities: Sequence[str],
  num_classes: int,
  *,
  dtype: str = "float32",
  log_variance: bool = False,
  unimodal_heads: bool = True,
  protocol: str = "clean",
) -> Classifier:
  """Creates the classifier of `config.model`.

  Args:
    config: `modalities` (as for `models.create`), `trunk` (`name` of `TRUNKS`; `hidden` and `dropout`
      of "mlp"; "transformer" takes `width`, `num_heads`, `num_layers`, `pool`, `implementation`),
      `unimodal_hidden`, `single_logit`, `normalize_features`.
    modalities: names in fusion order.
    num_classes: number of classes.
    dtype: compute dtype, "float32" or "bfloat16".
    log_variance: whether a head of log-variances exists.
    unimodal_heads: whether each modality has a class head of its own.
    protocol: as for `models.create`.

  Returns:
    The classifier.

  Raises:
    ValueError: unknown trunk, `single_logit` with more than two classes, or as `models.create`.
  """
  compute = compute_dtype(dtype)
  if config.single_logit and num_classes != 2:
    raise ValueError(f"config.model.single_logit: expected 2 classes, found {num_classes}")
  head = {"num_classes": num_classes, "single_logit": config.single_logit, "dtype": compute}
  hidden = tuple(config.unimodal_hidden)
  encoders, adapters = build_modules(config, modalities, compute, protocol)
  return Classifier(
    encoders=encoders,
    adapters=adapters,
    trunk=_create_trunk(config, compute),
    head=ClassHead(**head),
    unimodal_heads={
      name: ClassHead(hidden=hidden, **head) for name in modalities if unimodal_heads
    },
    log_variance=Dense(num_classes, dtype=compute) if log_variance else None,
    normalize=config.normalize_features,
  )


def _create_trunk(config: ConfigDict, compute: Any) -> nn.Module:
  name = config.trunk.name
  if name in TRUNKS and name != "mlp" and config.trunk.dropout:
    raise ValueError(
      f"config.model.trunk.dropout: the {name} trunk has none: expected 0, found"
      f" {config.trunk.dropout}"
    )
  if name == "additive":
    return AdditiveTrunk(dtype=compute)
  if name == "mlp":
    return MLPTrunk(tuple(config.trunk.hidden), config.trunk.dropout, dtype=compute)
  if name == "transformer":
    return TransformerTrunk(create_fusion(config, compute))
  raise ValueError(f"config.model.trunk.name: expected one of {TRUNKS}, found {name!r}")
