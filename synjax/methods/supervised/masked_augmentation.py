"""Control of SynIB: masked copies as training data."""

from collections.abc import Mapping
from typing import Any

import jax
from ml_collections import ConfigDict
from typing_extensions import override

from synjax.data.pipeline import Batch, Dataset
from synjax.methods import synib_variants
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import accuracy, cross_entropy, having
from synjax.methods.corruption_method import CorruptionMethod


class MaskedAugmentation(CorruptionMethod):
  """Control of SynIB: masked copies as training data, no penalty (SynIB, App. G).

  `variant` "paper": L = mean over the copies {x, (x~_1, x_2), (x_1, x~_2), ...} of CE(y, q) + w sum_m
  CE(y, q_um), of inputs (docs/spec/synib.md 8). "released": that of the real data,

      L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)) + sum_m CE(y, q(x~_m, x_-m)),

  of features before the fusion, by the released masks, random or learned (docs/spec/synib_release.md
  1.26). An oracle mask corrupts what is NOT informative, so that the label stays readable. The copies
  with a modality masked are those of the examples that have it.
  """

  traced = ("unimodal_weight", "corrupt_probability")
  learns_several = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(synib_variants.resolve(config), dataset)
    self.check_choice("mask", ("random", "oracle", "learned", "full"))
    if not self._released and config.method.site != "input":
      raise ValueError(f"config.method.site: expected input, found {config.method.site!r}")

  @property
  def _released(self) -> bool:
    return self.config.method.variant == "released"

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
    kind: str | None = None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    corrupt, found = super().draw(name, params, model_state, batch, x, shape, info, real, kind)
    return (~corrupt if self.config.method.mask == "oracle" else corrupt), found

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch = batch["clean"]
    features, valid, model_state = self.encode(params, model_state, batch, info)
    model_state = self.update_moments(model_state, batch, features, valid, info)
    branches, found = self.counterfactuals(params, model_state, batch, features, valid, info)
    chosen = list(range(len(features)))
    _, logits = self.fuse_passes(params, features, branches, valid, chosen, info)
    counted = [batch["valid"], *(having(name, batch) for name in features)]
    parts = zip(logits, counted, strict=True)
    fused = [cross_entropy(part, batch, info, real) for part, real in parts]
    intact = self.unimodal_losses(params, features, valid, batch, info)
    if self._released:
      terms = {"fused": fused[0], "masked": sum(fused[1:]), **intact}
    else:
      copies = len(logits)
      masked = self.unimodal_losses(params, branches[0].corrupted, valid, batch, info)
      terms = {"fused": sum(fused) / copies}
      terms |= {n: ((copies - 1) * intact[n] + masked[n]) / copies for n in intact}
    metrics = {"accuracy": accuracy(logits[0], batch, info), **found}
    return Out(terms, model_state, metrics=metrics)
