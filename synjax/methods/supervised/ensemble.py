"""The late ensemble of one model a modality."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from typing_extensions import override

from synjax import models
from synjax.data import fields
from synjax.data.pipeline import Batch
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import ClassifierMethod, cross_entropy, having
from synjax.models.backbone import Features, Valid


class Ensemble(ClassifierMethod):
  """Late ensemble of independently trained unimodal models: q(y | x) = mean_m q_um(y | x_m).

  L = sum_m CE(y, q_um(x_m)); the models share no parameter, so training them together is training
  each alone. Both the loss and the mean are over what is there: a model learns from the examples that
  have its modality, and an example is scored by the models of the modalities it has (by none: uniform).
  The published code averages probabilities or, elsewhere, adds logits (docs/spec/synib.md 7).
  Of several labels an example q is each label's own probability, likewise averaged, and none's 1/2.
  """

  fuses = False
  learns_several = True

  def members(self) -> tuple[str, ...]:
    """Returns the modalities whose models are trained."""
    return self.dataset.modalities

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    params, model_state = super().init(key, batch)
    used = [f"{part}_{name}" for name in self.members() for part in ("encoders", "adapters")]
    used += [f"unimodal_heads_{name}" for name in self.members()]
    keep = lambda tree: {name: tree[name] for name in used if name in tree}  # noqa: E731
    return keep(params), {name: keep(state) for name, state in model_state.items()}

  def _of_members(self, batch: Batch) -> Batch:
    others = [name for name in self.dataset.modalities if name not in self.members()]
    return {n: v for n, v in batch.items() if fields.modality_of(n, others) is None}

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch = self._of_members(batch["clean"])
    features, valid, model_state = self.encode(params, model_state, batch, info)
    losses = {}
    for name, feature in features.items():
      logits = self.unimodal(params, name, feature, valid.get(name))
      losses[f"unimodal_{name}"] = cross_entropy(logits, batch, info, having(name, batch))
    return Out(losses, model_state)

  @override
  def encode_frozen(self, params: Any, model_state: Any, batch: Batch) -> tuple[Features, Valid]:
    return super().encode_frozen(params, model_state, self._of_members(batch))

  @override
  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    features = self.features(params, model_state, batch)
    return jnp.concatenate(list(features.values()), axis=-1)

  @override
  def logits(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    scores = self.log_probabilities(self.unimodal_logits(params, model_state, batch))
    mean = self._mean(scores, batch)
    # Of several labels [batch, labels, 2]: the logit of the mean probability of having each.
    several = self.dataset.label_kind == "multilabel"
    return mean[..., 1] - mean[..., 0] if several else mean

  def _mean(self, scores: jax.Array, batch: Batch) -> jax.Array:
    """Returns the log of the mean probability over the modalities that an example has.

    Args:
      scores: log-probabilities [batch, modalities, ..., outcomes].
      batch: says who has what.
    """
    present = models.present_subsets(batch, self.members())
    if present is None:
      return jax.nn.logsumexp(scores, axis=1) - jnp.log(scores.shape[1])
    *members, has_any = present.reshape(*present.shape, *[1] * (scores.ndim - 2))
    scores = jnp.where(jnp.stack(members, axis=1), scores, -jnp.inf)
    count = jnp.maximum(sum(member.astype(scores.dtype) for member in members), 1)
    mean = jax.nn.logsumexp(scores, axis=1) - jnp.log(count)
    return jnp.where(has_any, mean, -jnp.log(scores.shape[-1]))
