"""Multi-loss: every modality's head trains its encoder beside the joint loss."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from typing_extensions import override

from synjax.data.pipeline import Batch
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import ClassifierMethod


class MultiLoss(ClassifierMethod):
  """L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)), w = 1 as published (docs/spec/baselines.md 5).

  `supervised` at the same w with heads that train the encoders: what the other methods of this family
  are compared with. It is also what the released MCR really trains (docs/spec/synib_release.md 1.20).
  """

  traced = ("unimodal_weight",)
  learns_several = True

  @override
  def start_remarks(
    self, hyper: Mapping[str, Any], epochs: float, shapes: Mapping[str, tuple[int, ...]]
  ) -> tuple[str, ...]:
    if np.all(hyper["method.unimodal_weight"] > 0):
      return ()
    return ("config.method.unimodal_weight=0: there is no unimodal loss, this is vanilla fusion",)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    return self.loss_and_logits(params, model_state, batch["clean"], info)[0]
