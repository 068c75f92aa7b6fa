"""SLIP: CLIP of the modalities, and SimCLR of one of them."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses
from synjax.data import fields
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out, named_modality
from synjax.methods.contrastive.cross import Cross


class SLIP(Cross):
  """SLIP (arXiv 2112.12750); docs/spec/baselines.md 3.4.

  L = mean_{i<j} CLIP(x_i, x_j; s) + w NTX(v[aug1], v[aug2]; t): the first of clean views, as `CLIP`, the
  second of the modality `self_modality` with an MLP head of its own; w = self_weight. The other
  modalities are encoded once. The representation is that of `CLIP`. As published for an image and its
  text; any modalities work.
  """

  views = ("clean", "aug1", "aug2")
  head = "none"
  head_fields = ("head_hidden", "head_features")  # of the modality with views

  def __init__(self, config: ConfigDict, dataset: Dataset):
    self._own = named_modality(config, dataset, "self_modality")
    super().__init__(config, dataset)

  @override
  def self_members(self) -> tuple[str, ...]:
    return (self._own,)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    own, views = self._own, [batch[view] for view in self.views]
    (first, others), model_state = self.apply(params, model_state, info, "project_self", views, own)
    rest = [fields.of_modalities(views[0], [m for m in self.members() if m != own])]
    u, model_state = self.apply(params, model_state, info, "project_views", rest)
    u = {name: first if name == own else u[name] for name in self.members()}
    terms, metrics = self.clip_terms(params, u, batch, info)
    valid = self.having(batch, info, own)
    value = losses.mean_of_valid(self.nt_xent(*others, valid), valid)
    terms[f"self_{own}"] = value, self.config.method.self_weight
    return self.out(terms, metrics, model_state)
