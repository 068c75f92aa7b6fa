"""What methods on the contrastive model share: encoders, fusion of every subset, projection head."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import models, parallel
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Method
from synjax.models.precision import at_least_float32


class ContrastiveMethod(Method):
  """A method that trains `models.MultimodalModel`; its representation is the fusion before the head."""

  head_fields = ("head_hidden", "head_features")
  compares_examples = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.model = models.create(
      config.model, dataset.modalities, dtype=config.dtype, protocol=config.protocol
    )

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    variables = self.model.init(key, batch, method="initialize")
    params = variables.pop("params")
    return params, variables

  @override
  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    return self._embed_subsets(params, model_state, batch)[-1]

  @override
  def features(self, params: Any, model_state: Any, batch: Batch) -> dict[str, jax.Array]:
    names = [name for name in self.dataset.modalities if name in batch]
    subsets = self._embed_subsets(params, model_state, batch)
    return dict(zip(names, subsets[:-1], strict=True))

  def _embed_subsets(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    """Returns the fusion of each modality and of all that `batch` has, [num_subsets, batch, width]."""
    subsets, _ = self.model.apply({"params": params, **model_state}, batch)
    return at_least_float32(subsets)

  def encode_views(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info
  ) -> tuple[Sequence[jax.Array], jax.Array | None, Any]:
    """Encodes the method's views in training mode, one after the other along the batch.

    Returns:
      (tokens: an array [views * batch, length_m, width] a modality; which of them are real,
      bool[views * batch, sum length_m], None: all; the new model state).
    """
    (tokens, valid), model_state = self._apply(
      params, model_state, info, "tokens_of_views", [batch[view] for view in self.views]
    )
    return tokens, valid, model_state

  def project(
    self,
    params: Any,
    model_state: Any,
    batch: Mapping[str, Batch],
    info: Info,
    tokens: Sequence[jax.Array],
    valid: jax.Array | None,
    keep: jax.Array | None = None,
    num_kept: int | None = None,
  ) -> tuple[Sequence[jax.Array], Sequence[jax.Array | None], Any]:
    """Fuses and projects what `encode_views` gave, and gathers the projections of the global batch.

    Args:
      params: the parameters.
      model_state: of `encode_views`.
      batch: view -> batch.
      info: of the step.
      tokens: of `encode_views`.
      valid: of `encode_views`.
      keep: bool[num_views, views * batch, sum length_m], tokens kept in each masked view; None: no
        masked views.
      num_kept: upper bound of the tokens kept in a row of it.

    Returns:
      (projections: an array [num_subsets, batch, dim] a view; those of its masked views
      [num_views, batch, dim], or None; the new model state).
    """
    present = models.present_subsets(batch[self.views[0]], self.dataset.modalities)
    projected, model_state = self._apply(
      params, model_state, info, "project", len(self.views), tokens, valid, present, keep, num_kept
    )
    gathered = jax.tree.map(
      lambda z: parallel.all_gather(at_least_float32(z), info.axis, batch_axis=1), projected
    )
    return *gathered, model_state

  def _apply(
    self, params: Any, model_state: Any, info: Info, function: str, *arguments: Any
  ) -> tuple[Any, Any]:
    """Calls a function of the model in training mode; returns (its result, the new model state)."""
    return self.model.apply(
      {"params": params, **model_state},
      *arguments,
      axis=info.axis,
      method=function,
      mutable=list(model_state),
      rngs={"dropout": info.device_key("dropout")},
    )

  def present(self, batch: Mapping[str, Batch], info: Info) -> jax.Array | None:
    """Returns which examples of the global batch have each subset, bool[subsets, batch]; None: all."""
    present = models.present_subsets(batch[self.views[0]], self.dataset.modalities)
    return present if present is None else parallel.all_gather(present, info.axis, batch_axis=1)
