"""SynIB: a supervised objective with a penalty on confidence when one modality is corrupted."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, masking, parallel
from synjax.data import fields
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import accuracy, cross_entropy, having
from synjax.methods.corruption_method import CorruptionMethod
from synjax.models.backbone import Features, Valid

FAMILIES = ("categorical", "gaussian_logits", "dirichlet")
REFERENCES = ("uniform", "unimodal")


class SynIB(CorruptionMethod):
  """SynIB (2026).

      L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)) + lambda sum_m KL(q(. | x~_m, x_-m) || r)

  with x~_m = (1 - c) x_m + c eps, one modality corrupted at a time (Eq. 14, 15, 21;
  docs/spec/synib.md 1, 2). The intact and all counterfactual passes are one batched call of the
  fusion; a pass that corrupts a modality is penalised on the examples that have it.
  """

  traced = ("unimodal_weight", "penalty", "corrupt_probability")

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.check_range("penalty", 0)
    self.check_choice("family", FAMILIES)
    self.check_choice("reference", REFERENCES)
    self.check_choice("anchor", ("intact", "corrupted"))
    self.check_choice("direction", losses.confidence.DIRECTIONS)
    count = config.method.num_corrupted
    if count is not None and not 1 <= count <= len(dataset.modalities):
      raise ValueError(
        f"config.method.num_corrupted: expected 1 to {len(dataset.modalities)}, found {count}"
      )

  @override
  def asks_heads(self) -> str | None:
    method = self.config.method
    unimodal = method.reference == "unimodal" and method.family == "categorical"
    return super().asks_heads() or ("reference=unimodal" if unimodal else None)

  @property
  @override
  def log_variance(self) -> bool:
    return self.config.method.family != "categorical"

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
    replaced, corrupt, found = self.corrupt(params, model_state, batch, features, valid, info)
    if self.config.method.site == "input":
      corrupted = self.encode(params, model_state, {**batch, **replaced}, info, "corrupted")[0]
    else:
      corrupted = replaced
    chosen, rescale = self.chosen(info)
    feature, logits = self.fuse_passes(params, features, corrupted, corrupt, valid, chosen, info)
    intact, counterfactual = logits[0], logits[1:]
    terms = {"fused": cross_entropy(intact, batch, info)}
    terms |= self.unimodal_losses(params, features, valid, batch, info)
    divergence = [
      self.divergence(params, feature[1 + p], counterfactual[p], features, valid, modality, batch)
      for p, modality in enumerate(chosen)
    ]
    mean = functools.partial(parallel.valid_mean, axis=info.axis)
    counted = [self.having_chosen(modality, batch) for modality in chosen]
    penalty = rescale * sum(map(mean, divergence, counted))
    terms["penalty"] = info.hyper["method.penalty"] * penalty
    metrics = {"accuracy": accuracy(intact, batch, info), "divergence": penalty}
    _, real = self.corruptible(batch, features, valid)
    for name, c in corrupt.items():
      metrics[f"corrupt_share/{name}"] = mean(
        masking.share_of(c, real.get(name)), having(name, batch)
      )
    return Out(terms, model_state, metrics=metrics | found)

  def divergence(
    self,
    params: Any,
    feature: jax.Array,
    logits: jax.Array,
    features: Features,
    valid: Valid,
    modality: int | jax.Array,
    batch: Batch,
  ) -> jax.Array:
    """Returns the penalty of each example of one counterfactual pass, [batch] in nats."""
    method = self.config.method
    if method.family == "gaussian_logits":
      return losses.gaussian_kl(logits, self.log_variance_of(params, feature))
    if method.family == "dirichlet":
      return losses.dirichlet_kl(jax.nn.softplus(self.log_variance_of(params, feature)) + 1)
    reference = None
    if method.reference == "unimodal":
      reference = self.reference(params, features, valid, modality, batch)
    return losses.categorical_kl(logits, reference, direction=method.direction)

  def log_variance_of(self, params: Any, feature: jax.Array) -> jax.Array:
    """Returns the output of the log-variance head, in float32."""
    found = self.model.apply({"params": params}, feature, method="log_variances")
    return found.astype(jnp.float32)

  def reference(
    self,
    params: Any,
    features: Features,
    valid: Valid,
    modality: int | jax.Array,
    batch: Batch,
  ) -> jax.Array:
    """Returns the unimodal reference: mean prediction of the intact modalities, as a constant.

    Of those that an example has; uniform where it has none.
    """
    probs = jnp.stack(
      [
        jax.nn.softmax(self.unimodal(params, name, feature, valid.get(name)))
        for name, feature in features.items()
      ]
    )
    corrupted = jnp.arange(len(features)) == modality
    weight = corrupted if self.config.method.anchor == "corrupted" else ~corrupted
    if all(fields.present(batch, name) is None for name in features):
      return jax.lax.stop_gradient(jnp.tensordot(weight / weight.sum(), probs, axes=1))
    counted = weight[:, None] & jnp.stack([having(name, batch) for name in features])
    total = (counted[..., None] * probs).sum(axis=0)
    count = counted.sum(axis=0)[:, None]
    reference = jnp.where(count > 0, total / jnp.maximum(count, 1), 1 / probs.shape[-1])
    return jax.lax.stop_gradient(reference)
