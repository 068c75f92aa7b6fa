"""OGM-GE: gradients of the modality that is ahead are damped, and noise is added to all of them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import parallel
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.balancing_rules import ogm_coefficients
from synjax.methods.base import Info, Out, path_name
from synjax.methods.classifier_method import ClassifierMethod, having, owner
from synjax.models.backbone import Features, Valid

# Which parameters of an encoder are modulated: of how many axes, and more.
MODULATED = {"paper": 2, "official": 4, "released": None}


class OGMGE(ClassifierMethod):
  """OGM-GE [@peng2022ogm]: L = CE(y, q(x)); the gradient of encoder m becomes k_m g + eps.

  k_m is `ogm_coefficients` of the probabilities that each modality alone gives the true class, over the
  examples that have all of them, and eps ~ N(0, std(g)^2), tensor by tensor, std that of the gradient
  before it is damped (GE), for damped and other modalities alike. Both in epochs `first_epoch` to
  `last_epoch`; docs/spec/baselines.md 5.2.

  What a modality alone says is, with an additive trunk, its share of the joint logits, W_m z_m + b / M,
  as published; with another trunk its unimodal head. The heads are probes: they train no encoder.
  `variant` says which parameters are modulated: "paper": matrices and convolutions; "official": 4-D
  kernels alone, those of images; "released": none, as SynIB's release does for a name that it does not
  know.
  """

  traced = ("unimodal_weight", "alpha")
  heads_are_probes = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.require_modalities(2)
    self.check_choice("variant", tuple(MODULATED))
    self.check_range("alpha", 0)
    self.check_range("first_epoch", 0)
    self.check_range("last_epoch", config.method.first_epoch)

  @property
  def _adds_up(self) -> bool:
    return self.config.model.trunk.name == "additive"

  @override
  def check_trials(self, hyper: Mapping[str, np.ndarray]) -> None:
    if not self._adds_up and not np.all(hyper["method.unimodal_weight"] > 0):
      raise ValueError(
        "config.method.unimodal_weight: the unimodal heads say which modality is ahead, and are not"
        " trained at 0: expected more than 0, found 0; or set config.model.trunk.name=additive"
      )

  def modulates(self, path: str, ndim: int) -> bool:
    """Says whether the gradient of a parameter with so many axes is modulated."""
    least = MODULATED[self.config.method.variant]
    return least is not None and ndim >= least and bool(owner(path, self.dataset.modalities))

  @override
  def start_remarks(
    self, hyper: Mapping[str, Any], epochs: float, shapes: Mapping[str, tuple[int, ...]]
  ) -> tuple[str, ...]:
    method, found = self.config.method, []
    if not any(self.modulates(path, len(shape)) for path, shape in shapes.items()):
      found.append(f"variant={method.variant} modulates no parameter of these encoders")
    if method.first_epoch >= epochs:
      found.append(f"the run of {epochs:g} epochs ends before first_epoch={method.first_epoch}")
    if not np.all(hyper["method.alpha"] > 0):
      found.append("alpha=0 damps nothing" + ("" if method.noise else ", and there is no noise"))
    return tuple(f"config.method: OGM-GE is off: {why}" for why in found)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch = batch["clean"]
    features, valid, new_state = self.encode(params, model_state, batch, info)
    out, logits = self.loss_of(params, features, valid, new_state, batch, info)
    scores = self.scores(params, features, valid, batch, info, logits)
    counted = jnp.maximum(batch["valid"].sum(), 1)
    found = {f"score/{m}": s / counted for m, s in zip(features, scores, strict=True)}
    return out.replace(metrics={**out.metrics, **found}, signals={"scores": scores})

  def scores(
    self,
    params: Any,
    features: Features,
    valid: Valid,
    batch: Batch,
    info: Info,
    logits: jax.Array,
  ) -> jax.Array:
    """Returns the sum over examples of the probability each modality gives the true class."""
    alone = self.alone(params, features, valid, info, logits)
    counted = jnp.stack([having(name, batch) for name in features]).all(axis=0)
    label = batch["label"][None, :, None]
    known = jnp.take_along_axis(jax.nn.softmax(alone), label, axis=-1)[..., 0]
    return jax.lax.stop_gradient(jnp.where(counted, known, 0).sum(axis=1))

  def alone(
    self, params: Any, features: Features, valid: Valid, info: Info, logits: jax.Array
  ) -> jax.Array:
    """Returns what each modality alone says, logits [modalities, batch, classes]."""
    if not self._adds_up:
      return jnp.stack(
        [self.unimodal(params, name, z, valid.get(name)) for name, z in features.items()]
      )
    zeros = {name: jnp.zeros_like(z) for name, z in features.items()}
    shares = jnp.stack(
      [self.fuse(params, {**zeros, name: z}, {}, info)[1] for name, z in features.items()]
    )  # W_m z_m + b, whose sum is the joint logits + (M - 1) b
    return shares - (shares.sum(axis=0) - logits) / len(shares)

  @override
  def transform(self) -> optax.GradientTransformation:
    method, modalities = self.config.method, self.dataset.modalities

    def update(grads, state, params=None, *, signals, info, key):
      del params
      coefficients = ogm_coefficients(signals["scores"][:, None], info.hyper["method.alpha"])
      active = (method.first_epoch <= info.epoch) & (info.epoch <= method.last_epoch)

      def modulate(path, g):
        name = path_name(path)
        if not self.modulates(name, g.ndim):
          return g
        scaled = coefficients[modalities.index(owner(name, modalities))].astype(g.dtype) * g
        if method.noise:
          noise = jax.random.normal(parallel.stream_key(key, name), g.shape, g.dtype)
          scaled += (jnp.std(g, ddof=min(1, g.size - 1)) + 1e-8) * noise
        return jnp.where(active, scaled, g)

      return jax.tree_util.tree_map_with_path(modulate, grads), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
