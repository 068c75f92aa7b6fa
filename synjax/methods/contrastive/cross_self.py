"""Cross+Self: pairs of modalities are aligned, and two augmented views of each modality."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from synjax import losses
from synjax.data.pipeline import Batch
from synjax.methods.base import Info, Out
from synjax.methods.separate_method import SeparateMethod


class CrossSelf(SeparateMethod):
  """Cross+Self of CoMM's tables (arXiv 2409.07402); docs/spec/baselines.md 3.2.

  L = mean_{i<j} NTX(u_i[clean], u_j[clean]; t) + w mean_i NTX(u_i[aug1], u_i[aug2]; t), the same MLP head
  for both; w = self_weight. Of two modalities as published; the means over more are ours. The
  representation is that before the heads.
  """

  views = ("clean", "aug1", "aug2")

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    u, model_state = self.project_views(params, model_state, batch, info)
    terms, metrics = self.pair_terms(self.nt_xent, "infonce", u, batch, info)
    weight = self.config.method.self_weight / len(u)
    for name, (_, first, second) in u.items():
      valid = self.having(batch, info, name)
      value = losses.mean_of_valid(self.nt_xent(first, second, valid), valid)
      terms[f"self_{name}"] = value, weight
    return self.out(terms, metrics, model_state)
