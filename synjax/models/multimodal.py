"""The multimodal model: encoders and adapters per modality, one fusion, one projection head."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from synjax.models.backbone import Backbone, build_modules, join_tokens
from synjax.models.fusion import FusionTransformer
from synjax.models.heads import ProjectionHead
from synjax.models.precision import compute_dtype


class MultimodalModel(Backbone):
  """Encoders -> adapters -> tokens of each modality -> fusion -> projection head.

  Which modalities take part is read from the batch: leave one out to see what remains without it.

  Attributes:
    encoders: see `Backbone`.
    adapters: likewise.
    fusion: `FusionTransformer`.
    head: `ProjectionHead`.
  """

  fusion: FusionTransformer
  head: ProjectionHead

  def tokens(
    self, batch: Mapping[str, jax.Array], *, train: bool = False, axis: str | None = None
  ) -> tuple[list[jax.Array], jax.Array | None]:
    """Encodes the modalities present in `batch`.

    Returns:
      (tokens: list of [batch, length_m, width] in modality order, valid: bool[batch, sum length_m],
      True = real, or None when no modality has padding or is absent in some example).
    """
    tokens, valid = self.tokens_of(batch, train=train, axis=axis)
    return list(tokens.values()), join_tokens(tokens, valid, True)

  def __call__(self, batch: Mapping[str, jax.Array]) -> tuple[jax.Array, None]:
    """Embeds a batch in evaluation mode.

    Args:
      batch: modality -> [batch, ...]; modalities may be left out.

    Returns:
      (subset embeddings [num_modalities + 1, batch, width], None).
    """
    tokens, valid = self.tokens(batch)
    return self.fusion(tokens, valid=valid)

  def fuse(
    self,
    tokens: Sequence[jax.Array],
    keep: jax.Array | None = None,
    num_kept: int | None = None,
    *,
    valid: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array | None]:
    """Fuses tokens, see `FusionTransformer`: (subsets, masked views [num_views, batch, width])."""
    return self.fusion(tokens, keep, num_kept, valid=valid)

  def project(
    self,
    count: int,
    tokens: Sequence[jax.Array],
    valid: jax.Array | None,
    present: jax.Array | None,
    keep: jax.Array | None = None,
    num_kept: int | None = None,
    *,
    axis: str | None = None,
  ) -> tuple[list[jax.Array], list[jax.Array | None]]:
    """Fuses the tokens of training views and projects them.

    Args:
      count: how many views they are of.
      tokens: of `tokens_of_views`.
      valid: likewise.
      present: bool[num_subsets, batch], examples that have each subset; None: all.
      keep: bool[num_views, count * batch, tokens]; None: no masked views.
      num_kept: upper bound of the tokens kept in a row of it.
      axis: device axis of synchronised statistics.

    Returns:
      (projections, masked projections): lists with an entry a view, [num_subsets, batch, dim] and
      [num_views, batch, dim] or None.
    """
    subsets, masked = self.fusion(tokens, keep, num_kept, valid=valid)
    # Every subset and masked view of a view is a call of its own to the head: statistics are per call,
    # and the dense layers are one product over all of them.
    calls = [
      part for z in (subsets, masked) if z is not None for part in jnp.split(z, count, axis=1)
    ]
    ends = np.cumsum([call.shape[0] for call in calls])[:-1]
    if present is not None:  # a masked view is one of the full set
      present = jnp.concatenate(
        [present] * count + [jnp.repeat(present[-1:], len(call), 0) for call in calls[count:]]
      )
    projected = self.head(jnp.concatenate(calls), train=True, axis=axis, valid=present)
    projected = jnp.split(projected, ends)
    return projected[:count], projected[count:] or [None] * count

  def tokens_of_views(
    self, views: Sequence[Mapping[str, jax.Array]], *, axis: str | None = None
  ) -> tuple[list[jax.Array], jax.Array | None]:
    """Encodes training views, one after the other along the batch; returns as `tokens`."""
    return self.encode_views(lambda view: self.tokens(view, train=True, axis=axis), views)

  def initialize(self, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Touches every parameter once, for `init`."""
    subsets, _ = self(batch)
    return self.head(subsets, train=False)


def create(
  config: ConfigDict, modalities: Sequence[str], *, dtype: str = "float32", protocol: str = "clean"
) -> MultimodalModel:
  """Creates the model of `config.model`.

  Args:
    config: `modalities` (modality -> `encoder` and `adapter`, each with a `name` and its module's
      fields), `width`, `num_heads`, `num_layers`, `pool`, `implementation`, `head_hidden`,
      `head_features`.
    modalities: names in fusion order.
    dtype: compute dtype, "float32" or "bfloat16"; parameters stay float32.
    protocol: "paper" gives encoders the published quirks, see `encoders.PUBLISHED_FIELDS`.

  Returns:
    The model.

  Raises:
    ValueError: a modality without entry, an unknown module name or field, unknown dtype.
  """
  compute = compute_dtype(dtype)
  if config.trunk.name != "transformer":
    raise ValueError(
      f"config.model.trunk.name: masked views need tokens: expected transformer, found"
      f" {config.trunk.name!r}; type --config.model.trunk.name=transformer"
    )
  encoders, adapters = build_modules(config, modalities, compute, protocol)
  return MultimodalModel(
    encoders=encoders,
    adapters=adapters,
    fusion=create_fusion(config, compute),
    head=ProjectionHead(hidden=config.head_hidden, features=config.head_features, dtype=compute),
  )


def create_fusion(config: ConfigDict, dtype: Any) -> FusionTransformer:
  """Creates the fusion transformer of `config.model`."""
  return FusionTransformer(
    width=config.width,
    num_heads=config.num_heads,
    num_layers=config.num_layers,
    pool=config.pool,
    implementation=config.implementation,
    dtype=dtype,
  )
