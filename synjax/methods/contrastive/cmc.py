"""CMC: every pair of modalities is aligned by NT-Xent."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from synjax.data.pipeline import Batch
from synjax.methods.base import Info, Out
from synjax.methods.separate_method import SeparateMethod


class CMC(SeparateMethod):
  """Contrastive multiview coding (arXiv 1906.05849) in its in-batch form; docs/spec/baselines.md 3.3.

  L = mean_{i<j} NTX(u_i, u_j; t) of clean views, u_i a linear projection without bias. The representation
  is that before the projections. Difference from the original: negatives are of the batch, not of a
  memory bank.
  """

  head = "linear"
  head_fields = ("head_features",)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    u, model_state = self.project_views(params, model_state, batch, info)
    terms, metrics = self.pair_terms(self.nt_xent, "infonce", u, batch, info)
    return self.out(terms, metrics, model_state)
