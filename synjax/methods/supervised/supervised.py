"""Vanilla fusion: the baseline that every supervised method is compared with."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from synjax.data.pipeline import Batch
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import ClassifierMethod


class Supervised(ClassifierMethod):
  """Vanilla fusion: L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)) (docs/spec/synib.md 1.6)."""

  traced = ("unimodal_weight",)
  learns_several = True

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    return self.loss_and_logits(params, model_state, batch["clean"], info)[0]
