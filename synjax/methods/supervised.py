"""Supervised baselines: vanilla fusion, one modality alone, and the ensemble of all of them."""

import jax
import jax.numpy as jnp
import optax

from synjax import models, parallel
from synjax.data import fields
from synjax.methods.base import Info, Method, Out
from synjax.methods.comm import at_least_float32


class Supervised(Method):
  """Vanilla fusion: L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)).

  Encoders, trunk and heads are those of `config.model`, the same for every supervised method.

  Config (`config.method`): `unimodal_weight` w >= 0 (traced); `detach_unimodal`: unimodal heads are
  probes that train no encoder (docs/spec/synib.md 1.6).
  """

  traced = ("unimodal_weight",)
  ignores_filler = True

  def __init__(self, config, dataset):
    super().__init__(config, dataset)
    if dataset.num_classes < 2:
      found = (
        f"a regression: {', '.join(dataset.regressions)}" if dataset.regressions else "no labels"
      )
      raise ValueError(
        f"config.method.name: {config.method.name} learns from labels: expected classes in"
        f" {dataset.name}, found {found}; choose comm or infmasking, or, where numbers are classes,"
        " config.data.label_kind=classes"
      )
    self.model = models.create_classifier(
      config.model,
      dataset.modalities,
      dataset.num_classes,
      dtype=config.dtype,
      spread=self.spread,
      protocol=config.protocol,
    )
    if "unimodal_weight" in self.traced:
      self.check_range("unimodal_weight", 0)

  @property
  def spread(self) -> bool:
    """Says whether the model has a head of log-variances."""
    return False

  def check_range(self, field: str, low: float, high: float = float("inf")) -> None:
    """Raises ValueError when a number of `config.method` is outside [low, high]."""
    value = self.config.method[field]
    if not low <= value <= high:
      raise ValueError(f"config.method.{field}: expected in [{low}, {high}], found {value}")

  def init(self, key, batch):
    """Returns (params, model_state) of encoders, trunk and heads."""
    variables = self.model.init(key, batch, method="initialize")
    params = variables.pop("params")
    return params, variables

  def encode(self, params, model_state, batch, info: Info, stream: str = "clean"):
    """Encodes a batch in training mode; returns (features, what is real, new running statistics).

    The first two are `models.Classifier.encode`'s.
    """
    networks = without_moments(model_state)
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

  def fuse(self, params, features, valid, info: Info, key_bias=None):
    """Fuses features in training mode; returns (trunk feature, logits in float32)."""
    rngs = {"dropout": info.device_key("dropout/fusion")}
    feature, logits = self.model.apply(
      {"params": params}, features, valid, key_bias or {}, train=True, method="fuse", rngs=rngs
    )
    return feature, at_least_float32(logits)

  def unimodal(self, params, name, feature, weight=None):
    """Returns one modality's own logits in float32."""
    logits = self.model.apply({"params": params}, name, feature, weight, method="unimodal")
    return at_least_float32(logits)

  def unimodal_losses(self, params, features, valid, batch, info):
    """Returns {"unimodal_<modality>": weighted cross-entropy over the examples that have it}."""
    weight, found = info.hyper["method.unimodal_weight"], {}
    for name, feature in features.items():
      if self.config.method.detach_unimodal:
        feature = jax.lax.stop_gradient(feature)
      logits = self.unimodal(params, name, feature, valid.get(name))
      found[f"unimodal_{name}"] = weight * cross_entropy(logits, batch, info, having(name, batch))
    return found

  def loss_and_logits(self, params, model_state, batch, info) -> tuple[Out, jax.Array]:
    """Computes the cross-entropies of a batch; returns them with the fused logits."""
    features, valid, model_state = self.encode(params, model_state, batch, info)
    _, logits = self.fuse(params, features, valid, info)
    losses = {"fused": cross_entropy(logits, batch, info)}
    losses |= self.unimodal_losses(params, features, valid, batch, info)
    out = Out(losses, model_state, metrics={"accuracy": accuracy(logits, batch, info)})
    return out, logits

  def loss(self, params, model_state, batch, info, phase="all"):
    """Computes the cross-entropy of the fused prediction and of the unimodal heads."""
    return self.loss_and_logits(params, model_state, batch["clean"], info)[0]

  def train_logits(self, params, model_state, batch, info):
    """Returns the fused class scores in training mode (dropout on), for diagnostics of a step."""
    features, valid, _ = self.encode(params, model_state, batch, info)
    return self.fuse(params, features, valid, info)[1]

  def features(self, params, model_state, batch):
    """Encodes a batch in evaluation mode; returns (features, what is real)."""
    networks = without_moments(model_state)
    return self.model.apply({"params": params, **networks}, batch, method="encode")

  def embed(self, params, model_state, batch):
    """Returns the trunk's feature; "mlp" and "additive" need every modality."""
    features, valid = self.features(params, model_state, batch)
    missing = [name for name in self.dataset.modalities if name not in features]
    if missing and not self.model.trunk.reads_tokens:
      raise ValueError(
        f"config.model.trunk.name: {self.config.model.trunk.name} needs every modality, {missing} is"
        " missing; only transformer works without"
      )
    feature, _ = self.model.apply({"params": params}, features, valid, {}, method="fuse")
    return at_least_float32(feature)

  def logits(self, params, model_state, batch):
    """Returns the fused class scores."""
    features, valid = self.features(params, model_state, batch)
    _, logits = self.model.apply({"params": params}, features, valid, {}, method="fuse")
    return at_least_float32(logits)

  def unimodal_logits(self, params, model_state, batch):
    """Returns the scores of the unimodal heads, [batch, modalities, classes]; NaN for an absent one."""
    features, valid = self.features(params, model_state, batch)
    scores = {m: self.unimodal(params, m, z, valid.get(m)) for m, z in features.items()}
    for name, own in scores.items():
      present = fields.present(batch, name)
      if present is not None:
        scores[name] = jnp.where(present[:, None], own, jnp.nan)
    return jnp.stack(list(scores.values()), axis=1)


class Ensemble(Supervised):
  """Late ensemble of independently trained unimodal models: q(y | x) = mean_m q_um(y | x_m).

  L = sum_m CE(y, q_um(x_m)); the models share no parameter, so training them together is training
  each alone. Both the loss and the mean are over what is there: a model learns from the examples that
  have its modality, and an example is scored by the models of the modalities it has (by none: uniform).
  The published code averages probabilities or, elsewhere, adds logits (docs/spec/synib.md 7).
  """

  traced = ()
  train_logits = None  # nothing is fused

  def members(self) -> tuple[str, ...]:
    """Names of the modalities whose models are trained."""
    return self.dataset.modalities

  def init(self, key, batch):
    """Returns (params, model_state) of the members' encoders and heads."""
    params, model_state = super().init(key, batch)
    used = [f"{part}_{name}" for name in self.members() for part in ("encoders", "adapters")]
    used += [f"unimodal_heads_{name}" for name in self.members()]
    keep = lambda tree: {name: tree[name] for name in used if name in tree}  # noqa: E731
    return keep(params), {name: keep(state) for name, state in model_state.items()}

  def _own(self, batch):
    others = [name for name in self.dataset.modalities if name not in self.members()]
    return {n: v for n, v in batch.items() if fields.modality_of(n, others) is None}

  def loss(self, params, model_state, batch, info, phase="all"):
    """Computes the sum of the members' cross-entropies."""
    batch = self._own(batch["clean"])
    features, valid, model_state = self.encode(params, model_state, batch, info)
    losses = {}
    for name, feature in features.items():
      logits = self.unimodal(params, name, feature, valid.get(name))
      losses[f"unimodal_{name}"] = cross_entropy(logits, batch, info, having(name, batch))
    return Out(losses, model_state)

  def features(self, params, model_state, batch):
    """Encodes the members' modalities in evaluation mode."""
    return super().features(params, model_state, self._own(batch))

  def embed(self, params, model_state, batch):
    """Returns the mean over tokens of every member's feature, concatenated over the modalities."""
    features, valid = self.features(params, model_state, batch)
    pooled = [
      z if z.ndim == 2 else models.classifier.mean_of_tokens(z, valid.get(m))
      for m, z in features.items()
    ]
    return at_least_float32(jnp.concatenate(pooled, axis=-1))

  def logits(self, params, model_state, batch):
    """Returns the logarithm of the mean of the members' probabilities."""
    scores = jax.nn.log_softmax(self.unimodal_logits(params, model_state, batch))
    present = models.present_subsets(batch, self.members())
    if present is None:
      return jax.nn.logsumexp(scores, axis=1) - jnp.log(scores.shape[1])
    *members, has_any = present[:, :, None]
    scores = jnp.where(jnp.stack(members, axis=1), scores, -jnp.inf)
    count = jnp.maximum(sum(member.astype(scores.dtype) for member in members), 1)
    mean = jax.nn.logsumexp(scores, axis=1) - jnp.log(count)
    return jnp.where(has_any, mean, -jnp.log(scores.shape[2]))


class Unimodal(Ensemble):
  """One modality alone, an independent encoder and head: L = CE(y, q_um(x_m)).

  Config (`config.method`): `modality`, its name; "": the first.
  """

  def __init__(self, config, dataset):
    name = config.method.modality or dataset.modalities[0]
    if name not in dataset.modalities:
      raise ValueError(
        f"config.method.modality: expected one of {dataset.modalities}, found {name!r}"
      )
    self._member = name
    super().__init__(config, dataset)

  def members(self):
    """Returns the one modality."""
    return (self._member,)


def without_moments(model_state):
  """Returns the networks' own collections: not the running moments that SynIB's fill keeps."""
  return {name: state for name, state in model_state.items() if name != "moments"}


def having(name: str, batch) -> jax.Array:
  """Returns which examples are real and have a modality, bool[batch]."""
  return fields.both(batch["valid"], fields.present(batch, name))


def cross_entropy(
  logits: jax.Array, batch, info: Info, counted: jax.Array | None = None
) -> jax.Array:
  """Returns the mean cross-entropy in nats over the examples that are `counted`; 0 where none is.

  Args:
    logits: [batch, classes].
    batch: with `label` and `valid`.
    info: `Info`.
    counted: bool[batch]; None: the valid ones.
  """
  values = optax.softmax_cross_entropy_with_integer_labels(logits, batch["label"])
  counted = batch["valid"] if counted is None else counted
  return parallel.valid_mean(values, counted, info.axis)


def accuracy(logits: jax.Array, batch, info: Info) -> jax.Array:
  """Returns the share of valid examples that are classified correctly."""
  correct = (logits.argmax(-1) == batch["label"]).astype(jnp.float32)
  return parallel.valid_mean(correct, batch["valid"], info.axis)
