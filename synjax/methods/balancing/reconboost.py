"""ReconBoost: modalities learn by turns, each what the others do not know yet."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import parallel
from synjax.data import fields
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.balancing_rules import boosting_weights
from synjax.methods.base import Info, Moment, Out, Phase
from synjax.methods.classifier_method import accuracy, cross_entropy, having, owner
from synjax.methods.supervised.ensemble import Ensemble

RATE = "boost_rate"  # beta
RECTIFY = "rectify"
VARIANTS = ("paper", "official", "released")


class ReconBoost(Ensemble):
  """ReconBoost [@hua2024reconboost]: F(x) = beta sum_m f_m(x_m), f_m the logits of modality m alone.

  Additive by definition: no trunk joins the modalities, whatever `config.model.trunk` says. Stage s
  trains m = s mod M, for `boosting_epochs`,

      L = mean_n (w1 - w2 q_y) / C CE(y, f_m) + alpha mean_{j != m} |softmax f_m - softmax f_j|^2 / C,

  q = softmax(beta sum_{j != m} f_j), then all of it, for `ensemble_epochs`, on CE(y, F); the optimizer
  starts afresh for each (docs/spec/baselines.md 5.5). The term of alpha (GA) begins with the second
  stage. Who does not learn is in evaluation mode. What an example lacks is left out of the sums.

  `variant`: "paper"; "official": its code, whose GA term has no gradient; "released", SynIB's: that too,
  q of all modalities, no beta, and an optimizer for each phase that goes on where it stopped (there one
  for all). Difference from all of them: f_m has a head of its own, where the official code has one for
  all modalities.
  """

  traced = ("w1", "w2", "alpha")
  learns_several = False  # what the others do not know is a share of one class an example

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.require_modalities(2)
    self.check_choice("variant", VARIANTS)
    for field, least in {"boosting_epochs": 1, "ensemble_epochs": 0, "alpha": 0}.items():
      self.check_range(field, least)
    self._released = config.method.variant == "released"
    turns = {f"boost_{name}": name for name in dataset.modalities}
    fresh = {"fresh_opt": not self._released}
    self.phases = tuple(
      Phase(phase, trains=functools.partial(_is_of, name), active=self._turn(i), **fresh)
      for i, (phase, name) in enumerate(turns.items())
    )
    self.phases += (Phase(RECTIFY, active=self._rectifies, **fresh),)
    self._turns = turns

  @property
  def _stage(self) -> int:
    return self.config.method.boosting_epochs + self.config.method.ensemble_epochs

  def _turn(self, modality: int):
    count, length = len(self.dataset.modalities), self.config.method.boosting_epochs

    def active(moment: Moment) -> jax.Array:
      boosting = moment.epoch % self._stage < length
      return boosting & (moment.epoch // self._stage % count == modality)

    return active

  def _rectifies(self, moment: Moment) -> jax.Array:
    return moment.epoch % self._stage >= self.config.method.boosting_epochs

  @override
  def start_remarks(
    self, hyper: Mapping[str, Any], epochs: float, shapes: Mapping[str, tuple[int, ...]]
  ) -> tuple[str, ...]:
    found, trunk = [], self.config.model.trunk.name
    if trunk != "additive":
      found.append(
        f"config.method.name: reconboost adds up the modalities' logits by definition: the {trunk} trunk"
        " of config.model is not there, and what only modalities together tell cannot be learnt"
      )
    missed = self.dataset.modalities[int(np.ceil(epochs / self._stage)) :]
    if missed:
      found.append(
        f"config.total_epochs: the run of {epochs:g} epochs ends before the turn of {', '.join(missed)};"
        f" a turn takes {self._stage}"
      )
    if not np.any(hyper["method.w2"]):
      found.append("config.method.w2=0: nothing is reconciled, modalities train by turns alone")
    return tuple(found)

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    params, model_state = super().init(key, batch)
    return (params if self._released else {**params, RATE: jnp.ones(())}), model_state

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch, losses, metrics = batch["clean"], {}, {}
    for name, modality in self._turns.items():
      if phase in (name, "all"):
        found, model_state = self.boost(modality, params, model_state, batch, info)
        losses |= {f"{term}_{modality}": value for term, value in found.items()}
    if phase in (RECTIFY, "all"):
      features, valid, model_state = self.encode(params, model_state, batch, info)
      logits = [self.unimodal(params, m, z, valid.get(m)) for m, z in features.items()]
      joint = self.joint(params, dict(zip(features, logits, strict=True)), batch)
      losses[RECTIFY] = cross_entropy(joint, batch, info)
      metrics = {"accuracy": accuracy(joint, batch, info)}
    return Out(losses, model_state, metrics=metrics)

  def joint(self, params: Any, logits: Mapping[str, jax.Array], batch: Batch) -> jax.Array:
    """Returns beta times the sum of the logits of the modalities that an example has."""
    total = sum(_of_those(fields.present(batch, name), f) for name, f in logits.items())
    return params.get(RATE, 1.0) * total

  def boost(
    self, modality: str, params: Any, model_state: Any, batch: Batch, info: Info
  ) -> tuple[dict[str, jax.Array], Any]:
    """Returns (the terms of one modality's turn, new running statistics of its own encoder)."""
    others = [name for name in self.dataset.modalities if name != modality]
    own = fields.of_modalities(batch, (modality,)) | {"valid": batch["valid"]}
    features, valid, new_state = self.encode(params, model_state, own, info)
    f = self.unimodal(params, modality, features[modality], valid.get(modality))
    rest, rest_valid = self.encode_frozen(params, model_state, fields.of_modalities(batch, others))
    known = {name: self.unimodal(params, name, z, rest_valid.get(name)) for name, z in rest.items()}
    known = jax.lax.stop_gradient(known)
    reference = known | ({modality: f} if self._released else {})
    q = jax.nn.softmax(self.joint(params, reference, batch))
    values = optax.softmax_cross_entropy_with_integer_labels(f, batch["label"])
    hyper, counted = info.hyper, having(modality, batch)
    weights = boosting_weights(q, batch["label"], hyper["method.w1"], hyper["method.w2"])
    terms = {"boost": parallel.valid_mean(weights * values, counted, info.axis)}
    if self.config.method.variant == "paper":
      apart = [
        parallel.valid_mean(
          jnp.square(jax.nn.softmax(f) - jax.nn.softmax(g)).mean(axis=-1),
          fields.both(counted, fields.present(batch, name)),
          info.axis,
        )
        for name, g in known.items()
      ]
      begun = info.epoch >= self._stage
      terms["agree"] = jnp.where(begun, hyper["method.alpha"], 0.0) * sum(apart) / len(apart)
    return terms, new_state

  @override
  def logits(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    scores = self.unimodal_logits(params, model_state, batch)
    names = [name for name in self.dataset.modalities if name in batch]
    return self.joint(params, {m: scores[:, i] for i, m in enumerate(names)}, batch)


def _is_of(modality: str, path: str) -> bool:
  """Says whether a parameter is the modality's own."""
  return owner(path, (modality,), heads=True) is not None


def _of_those(present: jax.Array | None, values: jax.Array) -> jax.Array:
  """Sets rows of [batch, classes] to 0 where the modality is absent."""
  return values if present is None else jnp.where(present[:, None], values, 0)
