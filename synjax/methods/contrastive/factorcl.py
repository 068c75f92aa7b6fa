"""FactorCL: shared and unique information, by critics that bound it from below and from above."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, parallel
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out, Phase
from synjax.methods.separate_method import Projections, SeparateMethod
from synjax.models.critic import Critic
from synjax.models.heads import FACTORS
from synjax.models.precision import at_least_float32, compute_dtype

CLUB = (
  "excess",
  "conditional_excess",
)  # bounded from above, by critics that a phase of their own fits


def _is_club(path: str) -> bool:
  return path.startswith("club_")


class FactorCL(SeparateMethod):
  """FactorCL-SSL (NeurIPS 2023, arXiv 2306.05268); docs/spec/baselines.md 3.7.

  With a clean and an augmented view of two modalities, a critic for each of their `FACTORS`, and c_i the
  projections of both views of modality i side by side, the phase "main" minimises

      L = -low(x_1, x_2) + up(x_1, x_2) - sum_i low(x_i, x_i') - low(c_1, c_2) + up(c_1, c_2),

  each term by projections and a critic of its own (`losses.info_nce_lower`, `losses.club_upper`). After
  it the phase "club" fits the critics of the two upper bounds and nothing else: it maximises low of each,
  recomputed with the new parameters. The representation is the five projections of clean views.
  Differences from the published code: (clean, augmented) in both conditional terms; no unused temperature
  and ratio; critics are `config.model.head_hidden` wide (512) and score pairs as `models.critic` does.
  """

  views = ("clean", "aug1")
  phases = (Phase("main", trains=lambda path: not _is_club(path)), Phase("club", trains=_is_club))
  head = "factors"
  head_fields = ("head_hidden",)  # of the critics

  def __init__(self, config: ConfigDict, dataset: Dataset):
    if len(dataset.modalities) > 2:
      raise ValueError(
        f"config.method.name: {config.method.name} is defined for two modalities, found"
        f" {dataset.modalities}; name two in config.data.modalities, or choose cmc or comm"
      )
    super().__init__(config, dataset)
    self.critic = Critic(config.model.head_hidden, dtype=compute_dtype(config.dtype))

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    params, model_state = super().init(key, batch)
    project = functools.partial(self._evaluate, params, model_state, batch, "projections")
    clean = {name: jnp.zeros((1, *z.shape)) for name, z in jax.eval_shape(project).items()}
    views = {name: jnp.repeat(z, len(self.views), axis=0) for name, z in clean.items()}
    for name, pair in self.pairs_of_critics(views, self.label(batch)).items():
      own = self.critic.init(parallel.stream_key(key, f"critic/{name}"), *pair)["params"]
      params[self._path(name)] = own
    return params, model_state

  def _path(self, name: str) -> str:
    return f"club_{name}" if name in CLUB else f"critics_{name}"

  def label(self, batch: Batch) -> jax.Array | None:
    """Returns what labels the method reads, [batch]; None: none."""
    del batch

  def given(self, views: jax.Array, label: jax.Array | None, factor: str) -> jax.Array:
    """Returns what is compared with, or put beside, a clean projection: that of the augmented view.

    Args:
      views: projections of one modality for one factor, [views, batch, width].
      label: of `label`.
      factor: of `FACTORS`.

    Returns:
      [batch, ...].
    """
    del label, factor
    return views[1]

  def pairs_of_critics(
    self, u: Projections, label: jax.Array | None
  ) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Returns critic -> (x, y) [batch, ...], what it compares."""
    found, (first, second) = {}, self.members()
    parts = {
      m: dict(zip(FACTORS, jnp.split(z, len(FACTORS), -1), strict=True)) for m, z in u.items()
    }
    for factor in ("shared", "excess"):
      found[factor] = parts[first][factor][0], parts[second][factor][0]
    for name, own in parts.items():
      found[f"own_{name}"] = own["own"][0], self.given(own["own"], label, "own")
    for factor in ("conditional_shared", "conditional_excess"):
      sides = [own[factor] for own in (parts[first], parts[second])]
      found[factor] = tuple(
        jnp.concatenate([views[0], self.given(views, label, factor)], axis=-1) for views in sides
      )
    return found

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    u, new_state = self.project_views(params, model_state, batch, info)
    label = self.label(batch["clean"])
    label = label if label is None else parallel.all_gather(label, info.axis)
    pairs = self.pairs_of_critics(u, label)
    both = self.having(batch, info, *self.members())
    own = {f"own_{name}": self.having(batch, info, name) for name in self.members()}
    terms = {}
    for name, pair in pairs.items():
      critic, valid = params[self._path(name)], own.get(name, both)
      if name not in CLUB and phase != "club":
        terms[name] = losses.info_nce_lower(self._scores(critic, *pair), valid=valid), -1.0
      if name in CLUB and phase != "club":  # neither phase trains what is the other's
        scores = self._scores(jax.lax.stop_gradient(critic), *pair)
        terms[name] = losses.club_upper(scores, valid=valid), 1.0
      if name in CLUB and phase != "main":
        scores = self._scores(critic, *jax.lax.stop_gradient(pair))
        terms[f"fit_{name}"] = losses.info_nce_lower(scores, valid=valid), -1.0
    return self.out(terms, {}, model_state if phase == "club" else new_state)

  def _scores(self, critic: Any, x: jax.Array, y: jax.Array) -> jax.Array:
    return at_least_float32(self.critic.apply({"params": critic}, x, y))

  @override
  def features(self, params: Any, model_state: Any, batch: Batch) -> dict[str, jax.Array]:
    return self._evaluate(params, model_state, batch, "projections")
