"""Cross: every pair of modalities is aligned as CLIP aligns images and text."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from typing_extensions import override

from synjax import losses
from synjax.data.pipeline import Batch
from synjax.methods.base import Info, Out
from synjax.methods.separate_method import Projections, SeparateMethod

INITIAL_SCALE = math.log(1 / 0.07)
LARGEST_SCALE = math.log(100)


class Cross(SeparateMethod):
  """Cross, CLIP (arXiv 2103.00020) of any two modalities; docs/spec/baselines.md 3.1.

  L = mean_{i<j} CLIP(u_i, u_j; s) of clean views, u_i a linear projection without bias and s a learnt
  scale, clamped to [0, log 100]. The representation is the concatenation of the projections, not
  normalised. Of two modalities as published; the mean over pairs of more is ours.
  """

  head = "linear"
  head_fields = ("head_features",)

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    params, model_state = super().init(key, batch)
    return {**params, "logit_scale": jnp.float32(INITIAL_SCALE)}, model_state

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    u, model_state = self.project_views(params, model_state, batch, info)
    return self.out(*self.clip_terms(params, u, batch, info), model_state)

  def clip_terms(
    self, params: Any, u: Projections, batch: Mapping[str, Batch], info: Info
  ) -> tuple[dict[str, tuple[jax.Array, float]], dict[str, jax.Array]]:
    """Compares pairs of modalities as `pair_terms` does, by CLIP's loss at the learnt scale."""
    scale = params["logit_scale"]

    def clip(a, b, valid):
      return losses.clip_loss(a, b, logit_scale=scale, valid=valid)

    terms, metrics = self.pair_terms(clip, "clip", u, batch, info)
    return terms, {**metrics, "logit_scale": scale}

  @override
  def post_step(self, params: Any) -> Any:
    return {**params, "logit_scale": jnp.clip(params["logit_scale"], 0, LARGEST_SCALE)}

  @override
  def features(self, params: Any, model_state: Any, batch: Batch) -> dict[str, jax.Array]:
    return self._evaluate(params, model_state, batch, "projections")
