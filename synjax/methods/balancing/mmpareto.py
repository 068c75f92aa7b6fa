"""MMPareto: each encoder follows the joint loss and its own as far as they agree."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict
from typing_extensions import override

from synjax.data.pipeline import Batch, Dataset
from synjax.methods.balancing_rules import magnitude, weights_of_products
from synjax.methods.base import Info, Out, path_name
from synjax.methods.classifier_method import ClassifierMethod, owner


class MMPareto(ClassifierMethod):
  """MMPareto [@wei2024mmpareto] on L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)).

  With g_0 the gradient of the joint loss and g_m that of the modality's own, both over all parameters of
  encoder m, h = c_0 g_0 + c_m g_m by `pareto_weights`, and a tensor p of that encoder is given

      gamma h_p max(1, |(g_0 + g_m)_p| / |h_p|).

  Trunk and heads are given the sum of all gradients; docs/spec/baselines.md 5.3. The rule is the same in
  the official code and in SynIB's release; gamma is not: 1.5; there 1.5 (MultiBench), 0.8 (CREMA-D) and 1
  (Hateful Memes). Every encoder solves its own problem, for any number of modalities. Decay and moments
  of the optimizer come after it.
  """

  traced = ("unimodal_weight", "gamma")
  learns_several = True
  per_loss = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.check_range("gamma", 0)

  @override
  def check_trials(self, hyper: Mapping[str, np.ndarray]) -> None:
    if not np.all(hyper["method.unimodal_weight"] > 0):
      raise ValueError(
        "config.method.unimodal_weight: nothing is between the joint gradient and one of 0, and encoders"
        " would not be trained: expected more than 0 (published: 1), found 0; choose supervised"
      )

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    return self.loss_and_logits(params, model_state, batch["clean"], info)[0]

  @override
  def transform(self) -> optax.GradientTransformation:
    def update(grads, state, params=None, *, signals, info, key):
      del params, signals, key
      gamma = info.hyper["method.gamma"]
      return balance(grads, self.dataset.modalities, gamma), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)


def balance(grads: Any, modalities: tuple[str, ...], gamma: jax.Array | float) -> Any:
  """Returns MMPareto's gradients.

  Args:
    grads: leaves [1 + modalities, ...]: of the joint loss, then of each modality's own.
    modalities: in that order.
    gamma: factor of the encoders' gradients.

  Returns:
    The tree without the axis of losses.
  """
  leaves, tree = jax.tree_util.tree_flatten_with_path(grads)
  owners = [owner(path_name(path), modalities) for path, _ in leaves]
  found = [rows.sum(axis=0) for _, rows in leaves]
  for m, name in enumerate(modalities):
    own = [i for i, whose in enumerate(owners) if whose == name]
    if not own:  # the whole encoder is frozen
      continue
    pairs = [(leaves[i][1][0], leaves[i][1][1 + m]) for i in own]
    scale = magnitude([part for pair in pairs for part in pair])
    scaled = [[part / scale for part in pair] for pair in pairs]
    c0, cm = weights_of_products(
      *(sum(jnp.vdot(pair[a], pair[b]) for pair in scaled) for a, b in ((0, 0), (0, 1), (1, 1)))
    )
    for i, (g0, gm) in zip(own, pairs, strict=True):
      h = c0 * g0 + cm * gm
      length, joint = _norm(h), _norm(found[i])
      ratio = jnp.where(length > 0, joint / jnp.where(length > 0, length, 1), 1)
      found[i] = (gamma * jnp.maximum(1, ratio) * h).astype(found[i].dtype)
  return jax.tree_util.tree_unflatten(tree, found)


def _norm(x: jax.Array) -> jax.Array:
  """Returns the Euclidean norm, also of entries whose squares are 0 in float32."""
  scale = magnitude([x])
  return scale * jnp.linalg.norm((x / scale).ravel())
