"""Control of SynIB: its penalty without corruption."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict
from typing_extensions import override

from synjax import parallel
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import ClassifierMethod


class ConfidencePenalty(ClassifierMethod):
  """Control of SynIB: the same penalty on the intact prediction, L += M lambda KL(q(. | x) || uniform).

  What SynIB becomes when its masks are empty, as in the synthetic runs recorded with the released code
  (docs/spec/synib.md 11.1).
  """

  traced = ("unimodal_weight", "penalty")
  learns_several = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.check_range("penalty", 0)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch = batch["clean"]
    out, logits = self.loss_and_logits(params, model_state, batch, info)
    divergence = parallel.valid_mean(self.divergence_of(logits), batch["valid"], info.axis)
    penalty = len(self.dataset.modalities) * info.hyper["method.penalty"] * divergence
    return out.replace(
      losses={**out.losses, "penalty": penalty}, metrics={**out.metrics, "divergence": divergence}
    )
