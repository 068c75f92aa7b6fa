"""SimCLR: two augmented views of one modality are aligned."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out, named_modality
from synjax.methods.separate_method import SeparateMethod


class SimCLR(SeparateMethod):
  """SimCLR (arXiv 2002.05709) of one modality; docs/spec/baselines.md 3.4.

  L = NTX(u[aug1], u[aug2]; t) with an MLP head. The representation is the encoder's vector; where the
  modality is left out, it is one 0: there is nothing to say.
  """

  views = ("aug1", "aug2")
  min_modalities = 1

  def __init__(self, config: ConfigDict, dataset: Dataset):
    self._member = named_modality(config, dataset)
    super().__init__(config, dataset)

  @override
  def members(self) -> tuple[str, ...]:
    return (self._member,)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    u, model_state = self.project_views(params, model_state, batch, info)
    valid = self.having(batch, info, self._member)
    first, second = u[self._member]
    value = losses.mean_of_valid(self.nt_xent(first, second, valid), valid)
    accuracy = losses.retrieval_accuracy(first, second, valid)
    terms = {f"self_{self._member}": (value, 1.0)}
    return self.out(terms, {"retrieval_accuracy": accuracy}, model_state)

  @override
  def embed(self, params: Any, model_state: Any, batch: Batch) -> jax.Array:
    if self._member not in batch:
      return jnp.zeros((len(next(iter(batch.values()))), 1))
    return super().embed(params, model_state, batch)
