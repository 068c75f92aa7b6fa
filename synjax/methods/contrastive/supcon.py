"""SupCon: examples of one class are aligned, whichever modality shows them."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, parallel
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out, require_classes
from synjax.methods.separate_method import SeparateMethod


class SupCon(SeparateMethod):
  """Supervised contrastive learning (arXiv 2004.11362); docs/spec/baselines.md 3.9.

  L = SupCon of all the projections u_i of clean views, one row a modality and example, over the rows that
  there are; positives are rows of the same class. The representation is that before the MLP heads. Of two
  modalities as published with FactorCL, whose code does not normalise; any number works.
  """

  reads_labels = True
  min_modalities = 1

  def __init__(self, config: ConfigDict, dataset: Dataset):
    require_classes(config, dataset)
    super().__init__(config, dataset)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    u, model_state = self.project_views(params, model_state, batch, info)
    labels = parallel.all_gather(batch["clean"]["label"], info.axis)
    valid = None
    if any(self.having(batch, info, name) is not None for name in u):
      everyone = jnp.ones(labels.shape, bool)
      having = [self.having(batch, info, name) for name in u]
      valid = jnp.concatenate([everyone if has is None else has for has in having])
    values = losses.sup_con(
      jnp.concatenate([z for (z,) in u.values()]),
      jnp.tile(labels, len(u)),
      temperature=self.config.method.temperature,
      valid=valid,
    )
    return self.out({"supcon": (losses.mean_of_valid(values, valid), 1.0)}, {}, model_state)
