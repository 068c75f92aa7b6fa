"""Control of SynIB: masked copies as training data."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict
from typing_extensions import override

from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import accuracy, cross_entropy, having
from synjax.methods.corruption_method import CorruptionMethod


class MaskedAugmentation(CorruptionMethod):
  """Control of SynIB: masked copies as training data, no penalty (SynIB, App. G).

  L = mean over the copies {x, (x~_1, x_2), (x_1, x~_2), ...} of CE(y, q) + w sum_m CE(y, q_um). An
  oracle mask corrupts what is NOT informative, so that the label stays readable (docs/spec/synib.md
  8). The copies with a modality masked are those of the examples that have it. The site is "input".
  """

  traced = ("unimodal_weight", "corrupt_probability")

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    if config.method.site != "input":
      raise ValueError(f"config.method.site: expected input, found {config.method.site!r}")

  @override
  def draw(
    self,
    name: str,
    params: Any,
    model_state: Any,
    batch: Batch,
    x: jax.Array,
    shape: tuple[int, ...],
    info: Info,
    real: jax.Array | None = None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    corrupt, found = super().draw(name, params, model_state, batch, x, shape, info, real)
    return (~corrupt if self.config.method.mask == "oracle" else corrupt), found

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch = batch["clean"]
    features, valid, model_state = self.encode(params, model_state, batch, info)
    model_state = self.update_moments(model_state, batch, features, valid, info)
    replaced, corrupt, found = self.corrupt(params, model_state, batch, features, valid, info)
    corrupted = self.encode(params, model_state, {**batch, **replaced}, info, "corrupted")[0]
    chosen = list(range(len(features)))
    _, logits = self.fuse_passes(params, features, corrupted, corrupt, valid, chosen, info)
    copies = len(logits)
    counted = [batch["valid"], *(having(name, batch) for name in features)]
    parts = zip(logits, counted, strict=True)
    terms = {"fused": sum(cross_entropy(part, batch, info, real) for part, real in parts) / copies}
    intact = self.unimodal_losses(params, features, valid, batch, info)
    masked = self.unimodal_losses(params, corrupted, valid, batch, info)
    terms |= {n: ((copies - 1) * intact[n] + masked[n]) / copies for n in intact}
    metrics = {"accuracy": accuracy(logits[0], batch, info), **found}
    return Out(terms, model_state, metrics=metrics)
