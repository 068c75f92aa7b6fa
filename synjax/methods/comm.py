"""CoMM: every modality subset of one view is aligned with the full fusion of the other view."""

import functools

import jax
import jax.numpy as jnp

from synjax import losses, models, parallel
from synjax.methods.base import Info, Method, Out


def at_least_float32(x: jax.Array) -> jax.Array:
  """Widens bfloat16 before losses and probes; float64 stays."""
  return x.astype(jnp.promote_types(x.dtype, jnp.float32))


class CoMM(Method):
  """CoMM (Dufumier et al., ICLR 2025, arXiv 2409.07402).

  L = (1 / (n + 1)) sum_i w_i l_i over the n unimodal subsets and the full one, `losses.comm_terms`.
  The term of a subset is over the examples that have it.

  Config (`config.method`): `temperature`; `weights`, one per term, or () for ones.
  """

  views = ("aug1", "aug2")

  def __init__(self, config, dataset):
    super().__init__(config, dataset)
    self.model = models.create(
      config.model, dataset.modalities, dtype=config.dtype, protocol=config.protocol
    )
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
    """Names of the loss terms, in order."""
    return tuple(f"infonce_{name}" for name in (*self.dataset.modalities, "full"))

  def init(self, key, batch):
    """Returns (params, model_state) of encoders, adapters, fusion and projection head."""
    variables = self.model.init(key, batch, method="initialize")
    params = variables.pop("params")
    return params, variables

  def project_views(self, params, model_state, batch, info: Info, keep=(None, None)):
    """Runs both views through the model and gathers the projections of the global batch.

    Returns:
      ((view_a, view_b) each [num_subsets, batch, dim], (masked_a, masked_b) each
      [num_views, batch, dim] or None), and the new model state.
    """
    projected, model_state = self.model.apply(
      {"params": params, **model_state},
      [batch[view] for view in self.views],
      keep,
      axis=info.axis,
      method="project_views",
      mutable=list(model_state),
      rngs={"dropout": info.device_key("dropout")},
    )
    gather = functools.partial(parallel.all_gather, axis=info.axis, batch_axis=1)
    return jax.tree.map(lambda z: gather(at_least_float32(z)), projected), model_state

  def present(self, batch, info: Info) -> jax.Array | None:
    """Returns which examples of the global batch have each subset, bool[subsets, batch]; None: all."""
    present = models.present_subsets(batch[self.views[0]], self.dataset.modalities)
    return present if present is None else parallel.all_gather(present, info.axis, batch_axis=1)

  def weighted(self, terms: jax.Array, views, model_state, present: jax.Array | None) -> Out:
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

  def loss(self, params, model_state, batch, info, phase="all"):
    """Computes the mean of CoMM's terms on two augmented views."""
    (views, _), model_state = self.project_views(params, model_state, batch, info)
    present = self.present(batch, info)
    terms = losses.comm_terms(*views, temperature=self.temperature, valid=present)
    return self.weighted(terms, views, model_state, present)

  def embed(self, params, model_state, batch):
    """Returns the fusion of all modalities in `batch`, before the projection head."""
    subsets, _ = self.model.apply({"params": params, **model_state}, batch)
    return at_least_float32(subsets[-1])
