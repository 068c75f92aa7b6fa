"""The multimodal model: encoders and adapters per modality, one fusion, one projection head."""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from synjax.data import fields
from synjax.models.adapters import ADAPTERS
from synjax.models.encoders import ENCODERS, PUBLISHED_FIELDS
from synjax.models.fusion import FusionTransformer
from synjax.models.heads import ProjectionHead
from synjax.models.precision import compute_dtype


class MultimodalModel(nn.Module):
  """Encoders -> adapters -> tokens of each modality -> fusion -> projection head.

  Which modalities take part is read from the batch: leave one out to see what remains without it.

  Attributes:
    encoders: modality -> module (x, *, valid, train, axis) -> features.
    adapters: modality -> module: features -> tokens [batch, length, width].
    fusion: `FusionTransformer`.
    head: `ProjectionHead`.
  """

  encoders: Mapping[str, nn.Module]
  adapters: Mapping[str, nn.Module]
  fusion: FusionTransformer
  head: ProjectionHead

  def tokens(self, batch, *, train: bool = False, axis: str | None = None):
    """Encodes the modalities present in `batch`.

    Returns:
      (tokens: list of [batch, length_m, width] in modality order, valid: bool[batch, sum length_m],
      True = real, or None when no modality has padding or is absent in some example).
    """
    tokens, valid = [], []
    for name in [name for name in self.encoders if name in batch]:
      features, real = encode(self.encoders[name], batch, name, train=train, axis=axis)
      tokens.append(self.adapters[name](features))
      valid.append(valid_tokens(real, tokens[-1]))
    if all(v is None for v in valid):
      return tokens, None
    shapes = [t.shape[:2] for t in tokens]
    filled = [jnp.ones(s, bool) if v is None else v for v, s in zip(valid, shapes, strict=True)]
    return tokens, jnp.concatenate(filled, axis=1)

  def __call__(self, batch):
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
    join = lambda *parts: jnp.concatenate(parts)  # noqa: E731
    if any(getattr(encoder, "mixes_examples", False) for encoder in self.encoders.values()):
      # Statistics are those of one view, as in the published code.
      parts = [self.tokens(view, train=True, axis=axis) for view in views]
      return jax.tree.map(join, *parts)
    # No encoder mixes examples, so all views are one batch: one program, larger products.
    return self.tokens(jax.tree.map(join, *views), train=True, axis=axis)

  def initialize(self, batch):
    """Touches every parameter once, for `init`."""
    subsets, _ = self(batch)
    return self.head(subsets, train=False)


def encode(
  encoder: nn.Module,
  batch: Mapping[str, jax.Array],
  name: str,
  *,
  train: bool,
  axis: str | None,
  counted: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array | None]:
  """Encodes one modality of a batch.

  Args:
    encoder: its encoder.
    batch: modality -> [batch, ...], with what else `synjax.data.fields` knows of it.
    name: the modality.
    train: training mode.
    axis: device axis, or None.
    counted: bool[batch], False = filler, for encoders that mix examples; None: no filler.

  Returns:
    (features [batch, ...], what of them is real: bool over leading axes, [batch] or, where the features
    are a sequence still, [batch, steps]; None: everything).
  """
  steps, present = fields.valid(batch, name), fields.present(batch, name)
  read = steps
  if getattr(encoder, "mixes_examples", False):
    read = fields.both(fields.both(present, counted), steps)
  try:
    features = encoder(batch[name], valid=read, train=train, axis=axis)
  except ValueError as error:  # of an encoder that does not fit the inputs
    raise ValueError(f"config.model.modalities.{name}.encoder: {error}") from error
  # Nothing of an encoder that pools is padding: its vector stands for all the steps.
  return features, fields.both(present, steps if features.ndim == 3 else None)


def valid_tokens(real: jax.Array | None, tokens: jax.Array) -> jax.Array | None:
  """Returns which tokens [batch, length, width] are real, bool[batch, length], by `encode`'s account."""
  if real is None:
    return None
  return jnp.broadcast_to(real.reshape(len(real), -1), tokens.shape[:2])


def present_subsets(batch: Mapping[str, jax.Array], modalities: Sequence[str]) -> jax.Array | None:
  """Returns which examples have each unimodal subset and any modality at all, bool[subsets, batch].

  In the order of the fusion's subset embeddings; None: every example has every modality.
  """
  names = [name for name in modalities if name in batch]
  known = [fields.present(batch, name) for name in names]
  if all(present is None for present in known):
    return None
  everyone = jnp.ones(len(batch[names[0]]), bool)
  rows = jnp.stack([everyone if present is None else present for present in known])
  return jnp.concatenate([rows, rows.any(axis=0, keepdims=True)])


def create(
  config, modalities: Sequence[str], *, dtype: str = "float32", protocol: str = "clean"
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
      f" {config.trunk.name!r}"
    )
  encoders, adapters = build_modules(config, modalities, compute, protocol)
  return MultimodalModel(
    encoders=encoders,
    adapters=adapters,
    fusion=create_fusion(config, compute),
    head=ProjectionHead(hidden=config.head_hidden, features=config.head_features, dtype=compute),
  )


def create_fusion(config, dtype) -> FusionTransformer:
  """Creates the fusion transformer of `config.model`."""
  return FusionTransformer(
    width=config.width,
    num_heads=config.num_heads,
    num_layers=config.num_layers,
    pool=config.pool,
    implementation=config.implementation,
    dtype=dtype,
  )


def build_modules(config, modalities: Sequence[str], dtype, protocol: str) -> tuple[dict, dict]:
  """Creates (encoders, adapters), modality -> module; ValueError as `create`."""
  missing = [name for name in modalities if name not in config.modalities]
  if missing:
    raise ValueError(f"config.model.modalities: no entry for {missing} of the dataset's modalities")
  return tuple(
    {m: _build(known, config, m, part, published, dtype) for m in modalities}
    for known, part, published in (
      (ENCODERS, "encoder", PUBLISHED_FIELDS if protocol == "paper" else {}),
      (ADAPTERS, "adapter", {}),
    )
  )


def _build(
  known: Mapping[str, Any], config, modality: str, part: str, published: Mapping, dtype
) -> nn.Module:
  """Creates one encoder or adapter from its config entry."""
  where = f"config.model.modalities.{modality}.{part}"
  fields = config.modalities[modality][part].to_dict()
  name = fields.pop("name", None)
  if name not in known:
    raise ValueError(f"{where}.name: expected one of {sorted(known)}, found {name!r}")
  if "width" in known[name].__dataclass_fields__:
    fields.setdefault("width", config.width)
  fields = {**published.get(name, {}), **fields}
  unknown = sorted(set(fields) - set(known[name].__dataclass_fields__))
  if unknown:
    raise ValueError(f"{where}: {name} has no field {unknown}")
  return known[name](**fields, dtype=dtype)
