"""Fine-tuning: a pre-trained model goes on with a linear classifier on its representation."""

from collections.abc import Mapping
from typing import Any

from typing_extensions import override

from synjax.data.pipeline import Batch
from synjax.methods.base import Info, Method, Out
from synjax.methods.classifier_method import ClassifierMethod


class Finetune(ClassifierMethod):
  """L = CE(y, W F(x, P) + b): encoders, adapters and fusion F from `config.initialize_from`, (W, b) new.

  From runs of comm and infmasking these are the rows CoMM-FT and InfMasking-FT (docs/spec/baselines.md
  3.5 and 3.9). All of it is trained, on inputs as they are, but for `config.optim.frozen`. A run without
  fusion is fine-tuned with `config.model.trunk.name=additive`: F concatenates its modalities' vectors.
  """

  fine_tunes = True
  learns_several = True
  unimodal_heads = False
  unimodal_logits = Method.unimodal_logits  # there are no heads for them

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    return self.loss_and_logits(params, model_state, batch["clean"], info)[0]
