"""FactorCL with labels in the place of augmented views."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import require_classes
from synjax.methods.contrastive.factorcl import FactorCL


class FactorCLSup(FactorCL):
  """FactorCL-SUP (arXiv 2306.05268); docs/spec/baselines.md 3.7.

  As `FactorCL` with clean views alone: a modality's own critic compares its projection with the label as
  one number, and the conditional terms have the label's one-hot code beside both modalities' projections.
  """

  views = ("clean",)
  reads_labels = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    require_classes(config, dataset)
    super().__init__(config, dataset)

  @override
  def label(self, batch: Batch) -> jax.Array:
    return batch["label"].astype(jnp.int32)

  @override
  def given(self, views: jax.Array, label: jax.Array, factor: str) -> jax.Array:
    if factor == "own":
      return label[:, None].astype(views.dtype)
    return jax.nn.one_hot(label, self.dataset.num_classes, dtype=views.dtype)
