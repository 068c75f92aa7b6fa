"""MCR: each modality is to make a difference to the joint prediction, and the others are not to care."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, parallel
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.balancing_rules import jensen_shannon
from synjax.methods.base import Info, Out
from synjax.methods.classifier_method import ClassifierMethod, having, pool
from synjax.models.backbone import Features, Valid
from synjax.models.precision import at_least_float32

STRATEGIES = ("greedy", "independent", "collaborative")
VARIANTS = ("paper", "released")
TEMPERATURE = 0.5  # of the contrastive term, in all published runs


class MCR(ClassifierMethod):
  r"""MCR, the multimodal competition regulariser [@kontras2025mcr]; docs/spec/baselines.md 5.6.

      L = CE(y, q(x)) + w sum_m CE(y, q_um(x_m)) + lambda R + a_c NTX_y(z) + a_g MSE(z, G(sg(f)))

  With J_m the Jensen-Shannon divergence of q(x) and of q where the latents of modality m are those of
  another example, mean over `num_permutations` permutations of the batch, and J_{k|m} the same value
  whose gradient goes through branch k alone (encoder k; with an additive trunk also W_k):

      greedy         R = sum_k [-J_{k|k} + mean_{m != k} J_{k|m}]
      independent    R = -sum_k J_{k|k}
      collaborative  R = -sum_m J_m

  Greedy is 0 whatever happens, only its gradient matters: what branches share, a trunk or a bias, has
  none of it. J_m are logged as `effect/<modality>`. NTX_y is `losses.pairwise_nt_xent` of all
  modalities' vectors, G a perceptron from logits to them.

  Encoders run once and the permuted passes on their latents alone, without dropout in the trunk; the
  published code encodes a second time, in evaluation mode. The mean over m != k for more than two
  modalities is ours. `variant`: "released", SynIB's public configs, in which R and NTX_y are off.
  """

  traced = ("unimodal_weight", "mipd_weight")
  compares_examples = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.require_modalities(2)
    self.check_choice("strategy", STRATEGIES)
    self.check_choice("variant", VARIANTS)
    for field in ("mipd_weight", "contrast_weight", "decoder_weight"):
      self.check_range(field, 0)
    self.check_range("num_permutations", 1)

  @property
  def _regularises(self) -> bool:
    return self.config.method.variant != "released"

  @override
  def start_remarks(
    self, hyper: Mapping[str, Any], epochs: float, shapes: Mapping[str, tuple[int, ...]]
  ) -> tuple[str, ...]:
    if not self._regularises:
      return ("config.method.variant=released: MCR's regulariser is off, this is multi_loss",)
    if not np.all(hyper["method.mipd_weight"] > 0):
      return ("config.method.mipd_weight=0: MCR's regulariser is off",)
    return ()

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    params, model_state = super().init(key, batch)
    method, z = self.config.method, self.features(params, model_state, batch)
    widths = {name: vector.shape[-1] for name, vector in z.items()}
    if self._regularises and method.contrast_weight and len(set(widths.values())) > 1:
      raise ValueError(
        "config.method.contrast_weight: compares vectors of all modalities: expected one width, found"
        f" {', '.join(f'{name} {width}' for name, width in widths.items())}; give the encoders one, or"
        " set it to 0"
      )
    if self._regularises and method.decoder_weight:
      total, classes = sum(widths.values()), self.dataset.num_classes
      sizes = {"layer1": (classes, total // len(widths)), "layer2": (total // len(widths), total)}
      draw = jax.nn.initializers.lecun_normal()
      keys = {name: parallel.stream_key(key, f"decoder/{name}") for name in sizes}
      params["decoder"] = {name: draw(keys[name], size) for name, size in sizes.items()}
    return params, model_state

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    batch = batch["clean"]
    features, valid, new_state = self.encode(params, model_state, batch, info)
    out, logits = self.loss_of(params, features, valid, new_state, batch, info)
    if not self._regularises:
      return out
    value, metrics = self.regulariser(params, features, valid, batch, info)
    terms = {**out.losses, "mipd": info.hyper["method.mipd_weight"] * value}
    vectors = {name: at_least_float32(pool(z, valid.get(name))) for name, z in features.items()}
    if weight := self.config.method.contrast_weight:
      terms["contrast"] = weight * self.contrast(vectors, batch, info)
    if weight := self.config.method.decoder_weight:
      terms["decoder"] = weight * self.decoding_error(params, logits, vectors, batch, info)
    return out.replace(losses=terms, metrics={**out.metrics, **metrics})

  def regulariser(
    self, params: Any, features: Features, valid: Valid, batch: Batch, info: Info
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns (R, modality's effect J_m as `effect/<modality>`)."""
    names, count = list(features), self.config.method.num_permutations
    branch, shared = coefficients(self.config.method.strategy, len(names))
    clean = _scaled(self._fuse_latents(params["head"], params, features, valid), shared)
    passes = [
      self._latents_of_pass(m, features, valid, branch[:, m], batch, info)
      for m in range(len(names))
    ]
    latents, real = (
      jax.tree.map(lambda *x: jnp.stack(x), *part) for part in zip(*passes, strict=True)
    )
    heads = [self._head_of_pass(params, features, branch[:, m], shared) for m in range(len(names))]
    heads = jax.tree.map(lambda *x: jnp.stack(x), *heads)
    rest = jax.tree.map(lambda x: _scaled(x, shared), params)
    fused = jax.vmap(lambda head, z, valid: self._fuse_latents(head, rest, z, valid))
    logits = fused(heads, latents, real).reshape(len(names), count, *clean.shape)
    effects = {}
    for name, own in zip(names, logits, strict=True):
      found = jensen_shannon(own, jnp.broadcast_to(clean, own.shape)).mean(axis=0)
      effects[name] = parallel.valid_mean(found, having(name, batch), info.axis)
    total = sum(effects.values())
    constant = jax.lax.stop_gradient(total)
    value = 0.0 if self.config.method.strategy == "greedy" else -constant
    return value + (total - constant), {f"effect/{name}": j for name, j in effects.items()}

  def _fuse_latents(self, head: Any, params: Any, features: Features, valid: Valid) -> jax.Array:
    """Returns the joint logits of latents in float32, without dropout."""
    variables = {"params": {**params, "head": head}}
    return at_least_float32(self.model.apply(variables, features, valid, {}, method="fuse")[1])

  def _latents_of_pass(
    self, m: int, features: Features, valid: Valid, branch: np.ndarray, batch: Batch, info: Info
  ) -> tuple[Features, Valid]:
    """Returns latents and what of them is real where modality number m is permuted, K times."""
    count, permuted = self.config.method.num_permutations, list(features)[m]
    order = permutations(info.keys(f"permute/{permuted}"), count, having(permuted, batch))

    def repeat(name, x):
      if name == permuted:
        return x[order.reshape(-1)]
      return jnp.broadcast_to(x, (count, *x.shape)).reshape(-1, *x.shape[1:])

    latents = {
      name: repeat(name, _scaled(z, factor))
      for (name, z), factor in zip(features.items(), branch, strict=True)
    }
    return latents, {name: repeat(name, real) for name, real in valid.items()}

  def _head_of_pass(
    self, params: Any, features: Features, branch: np.ndarray, shared: float
  ) -> Any:
    """Returns the class head with the gradient that each branch's rows have in a pass."""
    head = jax.tree.map(lambda x: _scaled(x, shared), params["head"])
    if self.config.model.trunk.name != "additive":
      return head
    factors = np.repeat(branch, [z.shape[-1] for z in features.values()])[:, None]
    kernel = _scaled(params["head"]["scores"]["kernel"], factors)
    return {**head, "scores": {**head["scores"], "kernel": kernel}}

  def contrast(self, vectors: Mapping[str, jax.Array], batch: Batch, info: Info) -> jax.Array:
    """Returns NTX_y of the vectors of all modalities of the global batch."""
    gather = lambda x: parallel.all_gather(x, info.axis)  # noqa: E731
    rows = jnp.concatenate([gather(z) for z in vectors.values()])
    valid = jnp.concatenate([gather(having(name, batch)) for name in vectors])
    labels = jnp.concatenate([gather(batch["label"])] * len(vectors))
    return losses.pairwise_nt_xent(rows, labels, temperature=TEMPERATURE, valid=valid)

  def decoding_error(
    self,
    params: Any,
    logits: jax.Array,
    vectors: Mapping[str, jax.Array],
    batch: Batch,
    info: Info,
  ) -> jax.Array:
    """Returns the mean squared error of the modalities' vectors given the joint logits."""
    layers = params["decoder"]
    hidden = jax.nn.relu(jax.lax.stop_gradient(logits) @ layers["layer1"])
    target = jnp.concatenate(list(vectors.values()), axis=-1)
    error = jnp.square(hidden @ layers["layer2"] - target).mean(axis=-1)
    return parallel.valid_mean(error, batch["valid"], info.axis)


def coefficients(strategy: str, count: int) -> tuple[np.ndarray, float]:
  """Returns by what J's gradient is multiplied.

  Returns:
    (float[count, count]: through branch k in the pass that permutes m; through all that is shared.)
  """
  if strategy == "greedy":
    return np.full((count, count), 1 / (count - 1)) - np.eye(count) * count / (count - 1), 0.0
  return (-np.eye(count) if strategy == "independent" else -np.ones((count, count))), -1.0


def permutations(keys: jax.Array, count: int, real: jax.Array) -> jax.Array:
  """Draws permutations of a batch that map real examples to real ones.

  They depend on the examples' keys alone, and not on where the examples are.

  Args:
    keys: one an example, [batch].
    count: K.
    real: bool[batch].

  Returns:
    int[K, batch], whose latents an example has.
  """
  draws = jax.vmap(lambda key: jax.random.uniform(key, (2, count)))(keys)
  order = jnp.argsort(jnp.where(real[:, None, None], draws, 2.0), axis=0)
  place = jnp.argsort(order[:, 0], axis=0)
  return jnp.take_along_axis(order[:, 1], place, axis=0).T


def _scaled(x: jax.Array, factor: float | np.ndarray) -> jax.Array:
  """Returns x, whose gradient is multiplied by a factor."""
  constant = jax.lax.stop_gradient(x)
  if np.ndim(factor) == 0 and factor == 0:
    return constant
  return constant + jnp.asarray(factor, x.dtype) * (x - constant)
