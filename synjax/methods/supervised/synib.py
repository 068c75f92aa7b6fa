"""SynIB: a supervised objective with a penalty on confidence when one modality is corrupted."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, parallel
from synjax.data.pipeline import Batch, Dataset
from synjax.methods import synib_variants
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import accuracy, cross_entropy, having, owner
from synjax.methods.corruption_method import CorruptionMethod, ramp
from synjax.models.backbone import Features, Valid

FAMILIES = ("categorical", "gaussian_logits", "dirichlet")
REFERENCES = ("uniform", "class_prior", "unimodal", "ema_unimodal")
ANCHORED = ("unimodal", "ema_unimodal")  # references that are predictions of modalities
MOMENTUM = 0.99  # of the running copy that ema_unimodal asks


class SynIB(CorruptionMethod):
  """SynIB (2026).

      L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)) + lambda sum_m pi_m KL(q(. | x~_m, x_-m) || r)

  with x~_m = (1 - c) x_m + c eps, one modality corrupted at a time (Eq. 14, 15, 21;
  docs/spec/synib.md 1, 2), pi_m = 1. The intact and all counterfactual passes are one batched call of
  the fusion; a pass that corrupts a modality is penalised on the examples that have it.

  `variant` "paper": the objective that the other fields say. "released_symmetric" (UR-FUNNY, MUStARD) and
  "released_anchor" (MOSI, Hateful Memes, CREMA-D): those of the published rows
  (docs/spec/synib_release.md 1 and 2), in which random and learned masks act in every run, soft and on
  the flagged coordinates; `first_penalty` is pi of the first modality. Differences: padding is told from
  what is real, and with a trunk of tokens the heads read the mean of the masked tokens, so that the
  learned mask has an adversary.
  """

  traced = ("unimodal_weight", "penalty", "corrupt_probability")
  learns_several = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(synib_variants.resolve(config), dataset)
    for field in ("penalty", "first_penalty", "penalty_ramp_epochs"):
      self.check_range(field, 0)
    config = self.config
    self.check_choice("family", FAMILIES)
    self.check_choice("reference", REFERENCES)
    self.check_choice("anchor", ("intact", "corrupted"))
    self.check_choice("direction", losses.confidence.DIRECTIONS)
    count = config.method.num_corrupted
    if count is not None and not 1 <= count <= len(dataset.modalities):
      raise ValueError(
        f"config.method.num_corrupted: expected 1 to {len(dataset.modalities)}, found {count}"
      )
    if config.method.family == "dirichlet" and dataset.label_kind == "multilabel":
      raise ValueError(
        "config.method.family: dirichlet is of shares of classes: expected one class an example, found"
        f" several labels in {dataset.name}; choose categorical or gaussian_logits"
      )
    self._prior = class_prior(dataset) if self._refers_to("class_prior") else None

  def _refers_to(self, *references: str) -> bool:
    method = self.config.method
    return method.family == "categorical" and method.reference in references

  @override
  def asks_heads(self) -> str | None:
    anchored = f"reference={self.config.method.reference}" if self._refers_to(*ANCHORED) else None
    return super().asks_heads() or anchored

  @property
  @override
  def log_variance(self) -> bool:
    return self.config.method.family != "categorical"

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    params, model_state = super().init(key, batch)
    if self._refers_to("ema_unimodal"):
      copied = jax.tree.map(jnp.zeros_like, self._of_modalities(params))
      model_state["ema_unimodal"] = {"params": copied, "count": jnp.int32(0)}
    return params, model_state

  def _of_modalities(self, params: Any) -> Any:
    """Returns the parameters of the unimodal models: encoders, adapters and heads."""
    return {n: p for n, p in params.items() if owner(n, self.dataset.modalities, heads=True)}

  def update_copy(self, params: Any, model_state: Any) -> Any:
    """Moves the running copy of the unimodal models towards them; the first move takes all."""
    if "ema_unimodal" not in model_state:
      return model_state
    old = model_state["ema_unimodal"]
    past = jnp.where(old["count"] > 0, MOMENTUM, 0.0)
    new = jax.lax.stop_gradient(self._of_modalities(params))
    moved = jax.tree.map(
      lambda a, b: (past * a + (1 - past) * b).astype(a.dtype), old["params"], new
    )
    return {**model_state, "ema_unimodal": {"params": moved, "count": old["count"] + 1}}

  def chosen(self, info: Info) -> tuple[Sequence[int] | jax.Array, float]:
    """Returns which modality each counterfactual pass corrupts, int[passes], and the rescaling."""
    total, count = len(self.dataset.modalities), self.config.method.num_corrupted
    if count is None or count == total:
      return list(range(total)), 1.0
    key = parallel.stream_key(info.key, "chosen")  # the same on every device
    return jax.random.permutation(key, total)[:count], total / count

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch = batch["clean"]
    features, valid, model_state = self.encode(params, model_state, batch, info)
    model_state = self.update_moments(model_state, batch, features, valid, info)
    model_state = self.update_copy(params, model_state)
    branches, found = self.counterfactuals(params, model_state, batch, features, valid, info)
    chosen, rescale = self.chosen(info)
    feature, logits = self.fuse_passes(params, features, branches, valid, chosen, info)
    intact, counterfactual = logits[0], logits[1:]
    terms = {"fused": cross_entropy(intact, batch, info)}
    terms |= self.unimodal_losses(params, features, valid, batch, info)
    alone = self.alone(params, model_state, features, valid, batch)
    penalty = 0.0
    for p, modality in enumerate([*chosen] * len(branches)):
      reference = self.reference(alone, modality, batch)
      divergence = self.divergence(params, feature[1 + p], counterfactual[p], reference)
      counted = self.having_chosen(modality, batch)
      mean = parallel.valid_mean(divergence, counted, info.axis)
      penalty += self.weight_of(modality) * mean
    penalty = rescale * penalty
    rate = info.hyper["method.penalty"] * ramp(self.config.method.penalty_ramp_epochs, info)
    terms["penalty"] = rate * penalty
    metrics = {"accuracy": accuracy(intact, batch, info), "divergence": penalty}
    return Out(terms, model_state, metrics=metrics | found)

  def weight_of(self, modality: int | jax.Array) -> jax.Array | float:
    """Returns pi_m of the pass that corrupts this modality."""
    first = self.config.method.first_penalty
    return 1.0 if first == 1 else jnp.where(jnp.asarray(modality) == 0, first, 1.0)

  def divergence(
    self, params: Any, feature: jax.Array, logits: jax.Array, reference: jax.Array | None
  ) -> jax.Array:
    """Returns the penalty of each example of one counterfactual pass, [batch] in nats."""
    method = self.config.method
    if method.family == "gaussian_logits":
      return losses.gaussian_kl(logits, self.log_variance_of(params, feature))
    if method.family == "dirichlet":
      return losses.dirichlet_kl(jax.nn.softplus(self.log_variance_of(params, feature)) + 1)
    return self.divergence_of(logits, reference, method.direction)

  def log_variance_of(self, params: Any, feature: jax.Array) -> jax.Array:
    """Returns the output of the log-variance head, in float32."""
    found = self.model.apply({"params": params}, feature, method="log_variances")
    return found.astype(jnp.float32)

  def alone(
    self, params: Any, model_state: Any, features: Features, valid: Valid, batch: Batch
  ) -> jax.Array | None:
    """Returns what each intact modality alone predicts, log-probabilities; None: not asked.

    [modalities, batch, ...] as of `log_probabilities`, of the live heads, or of the running copies of
    encoders and heads, in evaluation mode. A constant.
    """
    if not self._refers_to(*ANCHORED):
      return None
    if "ema_unimodal" in model_state:
      params = {**params, **model_state["ema_unimodal"]["params"]}
      features, valid = self.encode_frozen(params, model_state, batch)
    logits = [self.unimodal(params, name, z, valid.get(name)) for name, z in features.items()]
    return jax.lax.stop_gradient(self.log_probabilities(jnp.stack(logits)))

  def reference(
    self, alone: jax.Array | None, modality: int | jax.Array, batch: Batch
  ) -> jax.Array | None:
    """Returns log r, r the reference of the pass that corrupts a modality; None: uniform.

    Of predictions r is the mean over the intact modalities that an example has, or the corrupted one's
    own, clean; uniform where it has none. A head that is sure gives r = 0 in float32, never log r = -inf.
    """
    if alone is None:
      return self._prior
    names = self.dataset.modalities
    corrupted = jnp.arange(len(names)) == modality
    weight = corrupted if self.config.method.anchor == "corrupted" else ~corrupted
    known = [having(name, batch) for name in names]
    counted = jnp.expand_dims(weight[:, None] & jnp.stack(known), range(2, alone.ndim))
    count = counted.sum(axis=0)
    total = jax.nn.logsumexp(alone, axis=0, b=counted)
    return jnp.where(count > 0, total - jnp.log(jnp.maximum(count, 1)), -math.log(alone.shape[-1]))


def class_prior(dataset: Dataset) -> np.ndarray:
  """Returns the logarithm of the share of each class in the training split, float32[classes].

  Of several labels of the shares without and with each, float32[labels, 2].

  Raises:
    ValueError: examples are made for every trial, or a class has none, which "q||r" could not bear.
  """
  split = dataset.train
  labels = (split.arrays if split.rows is None else split.rows.columns).get("label")
  if labels is None:
    raise ValueError(
      f"config.method.reference: class_prior counts the training labels, which {dataset.name} makes anew"
      " for every trial: expected uniform (its classes are equally likely)"
    )
  if dataset.label_kind == "multilabel":
    return _label_prior(np.asarray(labels))
  counts = np.bincount(np.asarray(labels).reshape(-1), minlength=dataset.num_classes)
  if not counts.all():
    raise ValueError(
      f"config.method.reference: class_prior needs examples of every class, found {counts.tolist()};"
      " choose uniform"
    )
  return np.log(counts / counts.sum()).astype(np.float32)


def _label_prior(labels: np.ndarray) -> np.ndarray:
  """Returns what `class_prior` does of several labels; ValueError where all or none have one."""
  share = labels.mean(axis=0)
  certain = np.flatnonzero((share == 0) | (share == 1))
  if len(certain):
    raise ValueError(
      "config.method.reference: class_prior needs examples with and without every label, found"
      f" {'all' if share[certain[0]] else 'none'} with label {certain[0]}; choose uniform"
    )
  return np.log(np.stack([1 - share, share], axis=-1)).astype(np.float32)
