"""CoMM: every modality subset of one view is aligned with the full fusion of the other view."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out
from synjax.methods.contrastive_method import ContrastiveMethod


class CoMM(ContrastiveMethod):
  """CoMM (Dufumier et al., ICLR 2025, arXiv 2409.07402).

  L = (1 / (n + 1)) sum_i w_i l_i over the n unimodal subsets and the full one, `losses.comm_terms`.
  The term of a subset is over the examples that have it.
  """

  views = ("aug1", "aug2")

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.temperature = config.method.temperature
    if not self.temperature > 0:
      raise ValueError(f"config.method.temperature: expected > 0, found {self.temperature}")
    self.weights = tuple(config.method.weights) or (1.0,) * len(self.term_names)
    if len(self.weights) != len(self.term_names):
      raise ValueError(
        f"config.method.weights: expected {len(self.term_names)} numbers, one for each of"
        f" {self.term_names}, found {self.weights}"
      )

  @property
  def term_names(self) -> tuple[str, ...]:
    """Names of the loss terms, in order; the last one is of the fusion of all.

    A plus, which no modality's name has, tells it from a modality that is called full.
    """
    modalities = self.dataset.modalities
    fusion = "full+" if "full" in modalities else "full"
    return tuple(f"infonce_{name}" for name in (*modalities, fusion))

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    tokens, valid, model_state = self.encode_views(params, model_state, batch, info)
    views, _, model_state = self.project(params, model_state, batch, info, tokens, valid)
    present = self.present(batch, info)
    terms = losses.comm_terms(*views, temperature=self.temperature, valid=present)
    return self.weighted(terms, views, model_state, present)

  def weighted(
    self,
    terms: jax.Array,
    views: Sequence[jax.Array],
    model_state: Any,
    present: jax.Array | None,
  ) -> Out:
    """Averages the weighted terms; logs the plain ones and the retrieval accuracy."""
    contributions = jnp.asarray(self.weights, terms.dtype) * terms / len(self.term_names)
    metrics = {f"term/{name}": terms[i] for i, name in enumerate(self.term_names)}
    has_any = None if present is None else present[-1]
    metrics["retrieval_accuracy"] = losses.retrieval_accuracy(views[0][-1], views[1][-1], has_any)
    return Out(
      losses={name: contributions[i] for i, name in enumerate(self.term_names)},
      model_state=model_state,
      metrics=metrics,
    )
