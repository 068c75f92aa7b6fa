"""The model of methods without fusion: each modality's encoder and a projection head of its own."""

from collections.abc import Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp

from synjax.data import fields
from synjax.models.backbone import Backbone, build_modules
from synjax.models.heads import LinearHead, ProjectionHead
from synjax.models.precision import compute_dtype

HEADS = ("linear", "mlp")


class SeparateModel(Backbone):
  """Encoders -> one vector of each modality, `Backbone.vector` -> projection heads.

  Attributes:
    encoders: see `Backbone`.
    adapters: used to average maps and sequences.
    heads: modality -> `LinearHead` or `ProjectionHead`.
  """

  heads: Mapping[str, nn.Module]

  def vectors(
    self, batch: Mapping[str, jax.Array], *, train: bool = False, axis: str | None = None
  ) -> dict[str, jax.Array]:
    """Encodes the modalities present in `batch`: modality -> [batch, width], 0 where it is absent."""
    found = {}
    for name in self.present_modalities(batch):
      x = self.vector(name, self.outputs(batch, name, train=train, axis=axis))
      found[name] = _where_present(x, batch, name)
    return found

  def project_views(
    self, views: Sequence[Mapping[str, jax.Array]], *, axis: str | None = None
  ) -> dict[str, jax.Array]:
    """Encodes and projects training views: modality -> [views, batch, dim].

    Each view is a call of its own to a head, whose batch statistics leave absent examples out.
    """
    vectors = self.encode_views(lambda view: self.vectors(view, train=True, axis=axis), views)
    projected, count = {}, len(views)
    for name, x in vectors.items():
      present = fields.present(views[0], name)
      if present is not None:
        present = jnp.broadcast_to(present, (count, *present.shape))
      calls = x.reshape(count, -1, x.shape[-1])
      projected[name] = self.heads[name](calls, train=True, axis=axis, valid=present)
    return projected

  def projections(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Projects a batch in evaluation mode: modality -> [batch, dim], 0 where it is absent."""
    return {
      name: _where_present(self.heads[name](x), batch, name)
      for name, x in self.vectors(batch).items()
    }


def _where_present(x: jax.Array, batch: Mapping[str, jax.Array], name: str) -> jax.Array:
  """Sets rows of [batch, width] to 0 of examples that lack the modality."""
  present = fields.present(batch, name)
  return x if present is None else jnp.where(present[:, None], x, 0)


def create_separate(
  config, modalities: Sequence[str], *, head: str, dtype: str = "float32", protocol: str = "clean"
) -> SeparateModel:
  """Creates the model without fusion of `config.model`.

  Args:
    config: `modalities`, `width`, `head_hidden`, `head_features` as for `models.create`.
    modalities: names, in order.
    head: of `HEADS`.
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
    "linear": lambda: LinearHead(**features),
    "mlp": lambda: ProjectionHead(hidden=config.head_hidden, **features),
  }[head]
  return SeparateModel(
    encoders=encoders, adapters=adapters, heads={name: make() for name in modalities}
  )
