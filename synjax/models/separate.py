"""The model of methods without fusion: each modality's encoder and a projection head of its own."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from synjax.data import fields
from synjax.models.backbone import (
  Backbone,
  Outputs,
  build_modules,
  mean_of_tokens,
  valid_tokens,
)
from synjax.models.heads import FactorHead, LinearHead, ProjectionHead
from synjax.models.precision import compute_dtype

HEADS = ("factors", "linear", "mlp", "none")


class SeparateModel(Backbone):
  """Encoders -> one vector of each modality, `Backbone.vector` -> projection heads.

  Attributes:
    encoders: see `Backbone`.
    adapters: used to average maps and sequences.
    heads: modality -> a head of `synjax.models.heads`; empty: a vector is its own projection, and is the
      mean of the adapter's tokens also where the encoder gives a vector, so that all have one width.
    self_heads: modality -> a further head, for views of that modality alone.
  """

  heads: Mapping[str, nn.Module]
  self_heads: Mapping[str, nn.Module] = dataclasses.field(default_factory=dict)

  def vectors(
    self, batch: Mapping[str, jax.Array], *, train: bool = False, axis: str | None = None
  ) -> dict[str, jax.Array]:
    """Encodes the modalities present in `batch`: modality -> [batch, width], 0 where it is absent."""
    found = {}
    for name in self.present_modalities(batch):
      outputs = self.outputs(batch, name, train=train, axis=axis)
      x = self.vector(name, outputs) if self.heads else self._mean_token(name, outputs)
      found[name] = _where_present(x, batch, name)
    return found

  def _mean_token(self, name: str, found: Outputs) -> jax.Array:
    """Returns the mean of a modality's real tokens, [batch, config.model.width]."""
    tokens = self.adapted(name, found.features)
    return mean_of_tokens(tokens, valid_tokens(found.valid, tokens))

  def project_views(
    self, views: Sequence[Mapping[str, jax.Array]], *, axis: str | None = None
  ) -> dict[str, jax.Array]:
    """Encodes and projects training views: modality -> [views, batch, dim].

    Each view is a call of its own to a head, whose batch statistics leave absent examples out.
    """
    vectors = self.encode_views(lambda view: self.vectors(view, train=True, axis=axis), views)
    calls = {name: x.reshape(len(views), -1, x.shape[-1]) for name, x in vectors.items()}
    return {
      name: self._head(self.heads, name, x, views[0], train=True, axis=axis)
      for name, x in calls.items()
    }

  def project_self(
    self, views: Sequence[Mapping[str, jax.Array]], name: str, *, axis: str | None = None
  ) -> tuple[jax.Array, jax.Array]:
    """Encodes training views of one modality, the first for `heads`, the others for `self_heads`.

    Returns:
      (projection of the first view [1, batch, dim]; those of the others [views - 1, batch, dim]).
    """
    own = [fields.of_modalities(view, [name]) for view in views]
    x = self.encode_views(lambda view: self.vectors(view, train=True, axis=axis)[name], own)
    first, others = jnp.split(x.reshape(len(views), -1, x.shape[-1]), [1])
    return tuple(
      self._head(heads, name, calls, views[0], train=True, axis=axis)
      for heads, calls in ((self.heads, first), (self.self_heads, others))
    )

  def _head(
    self,
    heads: Mapping[str, nn.Module],
    name: str,
    calls: jax.Array,
    batch: Mapping[str, jax.Array],
    **mode: Any,
  ) -> jax.Array:
    """Projects [calls, batch, width] by a modality's head; as they are where it has none."""
    if name not in heads:
      return calls
    present = fields.present(batch, name)
    if present is not None:
      present = jnp.broadcast_to(present, calls.shape[:2])
    return heads[name](calls, valid=present, **mode)

  def projections(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Projects a batch in evaluation mode: modality -> [batch, dim], 0 where it is absent."""
    return {
      name: _where_present(self._head(self.heads, name, x[None], batch)[0], batch, name)
      for name, x in self.vectors(batch).items()
    }

  def initialize(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Touches every parameter once, for `init`."""
    vectors = self.vectors(batch)
    for name, head in self.self_heads.items():
      head(vectors[name], train=False)
    return self.projections(batch)


def _where_present(x: jax.Array, batch: Mapping[str, jax.Array], name: str) -> jax.Array:
  """Sets rows of [batch, width] to 0 of examples that lack the modality."""
  present = fields.present(batch, name)
  return x if present is None else jnp.where(present[:, None], x, 0)


def create_separate(
  config: ConfigDict,
  modalities: Sequence[str],
  *,
  head: str,
  self_heads: Sequence[str] = (),
  dtype: str = "float32",
  protocol: str = "clean",
) -> SeparateModel:
  """Creates the model without fusion of `config.model`.

  Args:
    config: `modalities`, `width`, `head_hidden`, `head_features` as for `models.create`.
    modalities: names, in order.
    head: of `HEADS`.
    self_heads: modalities with a further `ProjectionHead`, for their own views.
    dtype: as for `models.create`.
    protocol: likewise.

  Returns:
    The model.

  Raises:
    ValueError: as `models.create`.
  """
  compute = compute_dtype(dtype)
  encoders, adapters = build_modules(config, modalities, compute, protocol)
  features = {"features": config.head_features, "dtype": compute}
  make = {
    "factors": lambda: FactorHead(dtype=compute),
    "linear": lambda: LinearHead(**features),
    "mlp": lambda: ProjectionHead(hidden=config.head_hidden, **features),
  }
  return SeparateModel(
    encoders=encoders,
    adapters=adapters,
    heads={name: make[head]() for name in modalities} if head in make else {},
    self_heads={name: make["mlp"]() for name in self_heads},
  )
