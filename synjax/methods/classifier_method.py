"""What methods on the classifier share: encoders, trunk, heads, and how all of them learn from labels."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, models, parallel
from synjax.data import fields
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Method, Out, require_classes
from synjax.models.backbone import Features, Valid, mean_of_tokens
from synjax.models.precision import at_least_float32

KEPT_BESIDE = ("moments", "ema_unimodal")  # of the model state: SynIB's fill and its reference


class ClassifierMethod(Method):
  """A method that trains `models.Classifier`; its representation is the trunk's feature.

  Encoders, trunk and heads are those of `config.model`, the same for every such method. Methods that use
  `unimodal_losses` have the fields `unimodal_weight` (traced) and `detach_unimodal`.
  """

  learns_from_labels = True
  reads_labels = True
  ignores_filler = True
  unimodal_heads = True  # False: the model has none, and `unimodal_logits` is not provided

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    require_classes(config, dataset)
    self.model = models.create_classifier(
      config.model,
      dataset.modalities,
      dataset.num_classes,
      dtype=config.dtype,
      log_variance=self.log_variance,
      unimodal_heads=self.unimodal_heads,
      protocol=config.protocol,
    )
    if "unimodal_weight" in self.traced:
      self.check_range("unimodal_weight", 0)

  @property
  def log_variance(self) -> bool:
    """Says whether the model has a head of log-variances."""
    return False

  @property
  def heads_are_probes(self) -> bool:
    """Says whether the unimodal heads train themselves alone, and no encoder."""
    return bool(self.config.method.get("detach_unimodal", False))

  def require_modalities(self, count: int) -> None:
    """Raises ValueError when the dataset has fewer modalities than the method compares."""
    if len(self.dataset.modalities) < count:
      raise ValueError(
        f"config.method.name: {self.config.method.name} balances modalities: expected at least {count},"
        f" found {self.dataset.modalities}; choose supervised for one"
      )

  def check_choice(self, field: str, known: Sequence[str]) -> None:
    """Raises ValueError when a field of `config.method` is none of the values it may have."""
    value = self.config.method[field]
    if value not in known:
      raise ValueError(
        f"config.method.{field}: expected one of {', '.join(known)}, found {value!r}"
      )

  def check_range(self, field: str, low: float, high: float = float("inf")) -> None:
    """Raises ValueError when a number of `config.method` is outside [low, high]."""
    value = self.config.method[field]
    if not low <= value <= high:
      raise ValueError(f"config.method.{field}: expected in [{low}, {high}], found {value}")

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    variables = self.model.init(key, batch, method="initialize")
    params = variables.pop("params")
    return params, variables

  def encode(
    self, params: Any, model_state: Any, batch: Batch, info: Info, stream: str = "clean"
  ) -> tuple[Features, Valid, Any]:
    """Encodes a batch in training mode; returns (features, what is real, new running statistics).

    The first two are `models.Classifier.encode`'s.
    """
    networks = networks_of(model_state)
    (features, valid), networks = self.model.apply(
      {"params": params, **networks},
      batch,
      train=True,
      axis=info.axis,
      counted=batch["valid"] if self.config.keep_partial_batch else None,
      method="encode",
      mutable=list(networks),
      rngs={"dropout": info.device_key(f"dropout/{stream}")},
    )
    return features, valid, {**model_state, **networks}

  def encode_frozen(self, params: Any, model_state: Any, batch: Batch) -> tuple[Features, Valid]:
    """Encodes a batch in evaluation mode; returns (features, what is real)."""
    networks = networks_of(model_state)
    return self.model.apply({"params": params, **networks}, batch, method="encode")

  def fuse(
    self,
    params: Any,
    features: Features,
    valid: Valid,
    info: Info,
    key_bias: Mapping[str, jax.Array] | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Fuses features in training mode; returns (trunk feature, logits in float32)."""
    rngs = {"dropout": info.device_key("dropout/fusion")}
    feature, logits = self.model.apply(
      {"params": params}, features, valid, key_bias or {}, train=True, method="fuse", rngs=rngs
    )
    return feature, at_least_float32(logits)

  def fuse_frozen(self, params: Any, model_state: Any, batch: Batch) -> tuple[jax.Array, jax.Array]:
    """Encodes and fuses in evaluation mode; returns (trunk feature, logits), both in float32."""
    features, valid = self.encode_frozen(params, model_state, batch)
    fused = self.model.apply({"params": params}, features, valid, {}, method="fuse")
    return jax.tree.map(at_least_float32, fused)

  def unimodal(
    self, params: Any, name: str, feature: jax.Array, weight: jax.Array | None = None
  ) -> jax.Array:
    """Returns one modality's own logits in float32."""
    logits = self.model.apply({"params": params}, name, feature, weight, method="unimodal")
    return at_least_float32(logits)

  def unimodal_losses(
    self, params: Any, features: Features, valid: Valid, batch: Batch, info: Info
  ) -> dict[str, jax.Array]:
    """Returns {"unimodal_<modality>": weighted cross-entropy over the examples that have it}."""
    weight, found = info.hyper["method.unimodal_weight"], {}
    for name, feature in features.items():
      if self.heads_are_probes:
        feature = jax.lax.stop_gradient(feature)
      logits = self.unimodal(params, name, feature, valid.get(name))
      found[f"unimodal_{name}"] = weight * cross_entropy(logits, batch, info, having(name, batch))
    return found

  def loss_and_logits(
    self, params: Any, model_state: Any, batch: Batch, info: Info
  ) -> tuple[Out, jax.Array]:
    """Computes CE(y, q(x)) + w sum_m CE(y, q_um(x_m)) of a batch; returns it with the fused logits.

    Without unimodal heads it is the first term.
    """
    features, valid, model_state = self.encode(params, model_state, batch, info)
    return self.loss_of(params, features, valid, model_state, batch, info)

  def divergence_of(
    self, logits: jax.Array, reference: jax.Array | None = None, direction: str = "q||r"
  ) -> jax.Array:
    """Returns how far predictions are from a reference, KL in nats, [batch].

    Of several labels an example the mean over labels of the Bernoulli one, as of the cross-entropy.

    Args:
      logits: [batch, classes], or [batch, labels].
      reference: log-probabilities as of `log_probabilities`, of every example or of one; None: uniform,
        1/2 of each label.
      direction: of `losses.categorical_kl`.
    """
    several = self.dataset.label_kind == "multilabel"
    outcomes = coins(logits) if several else logits
    if reference is None:
      reference = jnp.full(outcomes.shape[-1:], -math.log(outcomes.shape[-1]))
    flat = outcomes.reshape(-1, outcomes.shape[-1])
    reference = jnp.broadcast_to(reference, outcomes.shape).reshape(flat.shape)
    found = losses.categorical_kl_of_logs(flat, reference, direction=direction)
    return found.reshape(logits.shape).mean(axis=-1) if several else found

  def log_probabilities(self, logits: jax.Array) -> jax.Array:
    """Returns log-probabilities [..., classes]; of several labels those of `coins`, [..., labels, 2]."""
    several = self.dataset.label_kind == "multilabel"
    return jax.nn.log_softmax(coins(logits) if several else logits)

  def loss_of(
    self,
    params: Any,
    features: Features,
    valid: Valid,
    model_state: Any,
    batch: Batch,
    info: Info,
  ) -> tuple[Out, jax.Array]:
    """Returns what `loss_and_logits` does, of what `encode` returned."""
    _, logits = self.fuse(params, features, valid, info)
    terms = {"fused": cross_entropy(logits, batch, info)}
    if self.unimodal_heads:
      terms |= self.unimodal_losses(params, features, valid, batch, info)
    out = Out(terms, model_state, metrics={"accuracy": accuracy(logits, batch, info)})
    return out, logits

  @override
  def train_logits(self, params: Any, model_state: Any, batch: Batch, info: Info) -> jax.Array:
    features, valid, _ = self.encode(params, model_state, batch, info)
    return self.fuse(params, features, valid, info)[1]

  @override
  def features(self, params: Any, model_state: Any, batch: Batch) -> dict[str, jax.Array]:
    features, valid = self.encode_frozen(params, model_state, batch)
    return {name: at_least_float32(pool(z, valid.get(name))) for name, z in features.items()}

  @override
  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    missing = [name for name in self.dataset.modalities if name not in batch]
    if missing and not self.model.trunk.reads_tokens:
      raise ValueError(
        f"config.model.trunk.name: {self.config.model.trunk.name} needs every modality, {missing} is"
        " missing; only transformer works without"
      )
    return self.fuse_frozen(params, model_state, batch)[0]

  @override
  def logits(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    return self.fuse_frozen(params, model_state, batch)[1]

  @override
  def unimodal_logits(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    features, valid = self.encode_frozen(params, model_state, batch)
    scores = {m: self.unimodal(params, m, z, valid.get(m)) for m, z in features.items()}
    for name, score in scores.items():
      present = fields.present(batch, name)
      if present is not None:
        scores[name] = jnp.where(present[:, None], score, jnp.nan)
    return jnp.stack(list(scores.values()), axis=1)


def pool(feature: jax.Array, valid: jax.Array | None = None) -> jax.Array:
  """Returns a modality's feature as one vector [batch, width]: of tokens, the mean of the real ones."""
  return feature if feature.ndim == 2 else mean_of_tokens(feature, valid)


def owner(path: str, modalities: Sequence[str], *, heads: bool = False) -> str | None:
  """Returns the modality to which a parameter, as "encoders_image/kernel", belongs; None: to none.

  That is, to its encoder or adapter; with `heads` to its unimodal head, too.
  """
  kinds = ("encoders", "adapters", "unimodal_heads")[: 3 if heads else 2]
  part = path.partition("/")[0]
  return next((m for m in modalities if part in [f"{kind}_{m}" for kind in kinds]), None)


def networks_of(model_state: Any) -> Any:
  """Returns the networks' own collections: not what SynIB keeps beside them."""
  return {name: state for name, state in model_state.items() if name not in KEPT_BESIDE}


def having(name: str, batch: Batch) -> jax.Array:
  """Returns which examples are real and have a modality, bool[batch]."""
  return fields.both(batch["valid"], fields.present(batch, name))


def coins(logits: jax.Array) -> jax.Array:
  """Returns the two outcomes of each label as classes, absence and presence: [..., labels, 2] logits."""
  return jnp.stack([jnp.zeros_like(logits), logits], axis=-1)


def cross_entropy(
  logits: jax.Array, batch: Batch, info: Info, counted: jax.Array | None = None
) -> jax.Array:
  """Returns the mean cross-entropy in nats over the examples that are `counted`; 0 where none is.

  Of several labels an example that of an example is the mean over its labels of the sigmoids' own.

  Args:
    logits: [batch, classes], or [batch, labels].
    batch: with `label` and `valid`.
    info: `Info`.
    counted: bool[batch]; None: the valid ones.
  """
  label = batch["label"]
  if label.ndim == 2:
    values = optax.sigmoid_binary_cross_entropy(logits, label).mean(axis=-1)
  else:
    values = optax.softmax_cross_entropy_with_integer_labels(logits, label)
  counted = batch["valid"] if counted is None else counted
  return parallel.valid_mean(values, counted, info.axis)


def accuracy(logits: jax.Array, batch: Batch, info: Info) -> jax.Array:
  """Returns the share of valid examples that are classified correctly; of several labels, of entries."""
  label = batch["label"]
  if label.ndim == 2:
    correct = ((logits > 0) == (label > 0)).astype(jnp.float32).mean(axis=-1)
  else:
    correct = (logits.argmax(-1) == label).astype(jnp.float32)
  return parallel.valid_mean(correct, batch["valid"], info.axis)
