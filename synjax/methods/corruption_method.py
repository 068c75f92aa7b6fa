"""What SynIB and its controls share: which features of which modality a step replaces, and by what."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import masking, parallel
from synjax.data import fields
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info
from synjax.methods.classifier_method import ClassifierMethod, cross_entropy, having
from synjax.models.backbone import Features, Valid

MASKS = ("random", "oracle", "learned", "full")
SITES = ("input", "latent", "token")
HARD_KEY_BIAS = -1e9  # logit of a token that attention must not see; finite, so that no NaN arises
# Of random masks in place of learned ones, and the share of examples from which on a warning is due.
FALLBACK_PROBABILITY = 0.5
MANY = 0.9
Arrays = Mapping[str, jax.Array]  # modality -> array


class CorruptionMethod(ClassifierMethod):
  """A method with counterfactual passes: x~_m = (1 - c) x_m + c eps, one modality corrupted at a time.

  What is padding, filler or an absent modality is neither corrupted nor taken for a replacement
  (SynIB, Eq. 15; docs/spec/synib.md 2).
  """

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.check_range("corrupt_probability", 0, 1)
    self.check_range("mask_warmup_epochs", 0)
    self.check_range("mask_collapse_share", 0, 1)
    method = config.method
    self.check_choice("mask", MASKS)
    self.check_choice("site", SITES)
    tokens = ("attention",) if method.site == "token" else ()
    self.check_choice("fill", (*masking.FILLS, *tokens))
    if method.mask == "oracle" and (method.site != "input" or not dataset.informative):
      raise ValueError(
        "config.method.mask: oracle needs site=input and a dataset that knows its informative"
        f" features, found site={method.site!r} and dataset {dataset.name}"
      )
    if method.site == "token" and not self.model.trunk.reads_tokens:
      raise ValueError(
        "config.method.site: token needs config.model.trunk.name=transformer, found"
        f" {config.model.trunk.name!r}"
      )

  def asks_heads(self) -> str | None:
    """Returns the setting that relies on what the unimodal heads predict; None: nothing does."""
    return "mask=learned" if self.config.method.mask == "learned" else None

  @override
  def check_trials(self, hyper: Mapping[str, np.ndarray]) -> None:
    setting, weights = self.asks_heads(), hyper["method.unimodal_weight"]
    if setting and not self.config.initialize_from and not np.all(weights > 0):
      raise ValueError(
        f"config.method.unimodal_weight: {setting} asks the unimodal heads, which are not trained at 0:"
        " expected more than 0 (published: 1), found 0; or start from trained heads by"
        " config.initialize_from"
      )

  @override
  def init(self, key: jax.Array, batch: Batch) -> tuple[Any, Any]:
    params, model_state = super().init(key, batch)
    if self.config.method.fill == "ema":
      values, _ = self.corruptible(batch, *self.encode_frozen(params, model_state, batch))
      shapes = {name: x.shape[2 if x.ndim == 3 else 1 :] for name, x in values.items()}
      model_state["moments"] = {name: masking.init_moments(s) for name, s in shapes.items()}
    return params, model_state

  def corruptible(self, batch: Batch, features: Features, valid: Valid) -> tuple[Arrays, Arrays]:
    """Returns what corruption acts on, inputs or features, and what of it is real.

    Both map modalities; the second to bool over leading axes, only where something is not real.
    """
    if self.config.method.site != "input":
      return features, valid
    real = {m: fields.both(fields.present(batch, m), fields.valid(batch, m)) for m in features}
    real = {name: known for name, known in real.items() if known is not None}
    return {name: batch[name] for name in features}, real

  def corrupt(
    self,
    params: Any,
    model_state: Any,
    batch: Batch,
    features: Features,
    valid: Valid,
    info: Info,
  ) -> tuple[Arrays, Arrays, dict[str, jax.Array]]:
    """Corrupts every modality.

    Returns:
      (replaced: modality -> corrupted input or feature, [batch, ...]; corrupt: modality -> bool, True =
      replaced; metrics of learned masks, see `guarded`).
    """
    values, real = self.corruptible(batch, features, valid)
    no_filler = batch["valid"] if self.config.keep_partial_batch else None
    replaced, corrupt, metrics = {}, {}, {}
    for name, x in values.items():
      shape, known = x.shape[:2] if self.config.method.site == "token" else x.shape, real.get(name)
      corrupt[name], found = self.draw(name, params, model_state, batch, x, shape, info, known)
      metrics |= {f"{metric}/{name}": value for metric, value in found.items()}
      corrupt[name] = fields.both(known, corrupt[name])
      if self.config.method.fill == "attention":
        replaced[name] = x
      else:
        keys, order_key = info.keys(f"fill/{name}"), info.device_key(f"shuffle/{name}")
        taken = fields.both(no_filler, known)
        eps = self.replacement(
          self.config.method.fill, name, model_state, x, keys, order_key, taken
        )
        replaced[name] = masking.gate(x, eps, corrupt[name])
    return replaced, corrupt, metrics

  def replacement(
    self,
    fill: str,
    name: str,
    model_state: Any,
    x: jax.Array,
    keys: jax.Array,
    order_key: jax.Array | None = None,
    taken: jax.Array | None = None,
  ) -> jax.Array:
    """Draws what corrupted entries of a modality become, by the named fill."""
    return masking.fill(
      fill,
      keys,
      x,
      moments=model_state.get("moments", {}).get(name),
      order_key=order_key,
      valid=taken,
      scale=self.config.method.noise_scale,
    )

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
    """Draws bool `shape`, True = replaced; returns it with the metrics of a learned mask."""
    kind = self.config.method.mask
    if kind == "full":
      return jnp.ones(shape, bool), {}
    if kind == "oracle":
      return jnp.broadcast_to(jnp.asarray(self.dataset.informative[name]), shape), {}
    if kind == "learned":
      corrupt, flagged = self.learn(name, params, model_state, batch, x, shape, info, real)
      return self.guarded(name, corrupt, flagged, batch, info, real)
    keys = info.keys(f"corrupt/{name}")
    random = masking.sample_corrupt(keys, shape[1:], info.hyper["method.corrupt_probability"])
    return random, {}

  def learn(
    self,
    name: str,
    params: Any,
    model_state: Any,
    batch: Batch,
    x: jax.Array,
    shape: tuple[int, ...],
    info: Info,
    real: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Learns which coordinates the modality's own prediction lives on; corrupts the others.

    Returns:
      (bool `shape`, True = replaced; the share of the coordinates that are flagged).
    """
    method = self.config.method

    def unimodal_loss(flagged, key):
      weight = real
      if method.fill == "attention":
        inner, weight = x, (1.0 - flagged) * (1.0 if real is None else real)
      else:
        fill = "noise" if method.fill == "shuffle" else method.fill
        keys = jax.random.split(key, x.shape[0])
        inner = masking.gate(x, self.replacement(fill, name, model_state, x, keys), flagged)
      if method.site == "input":
        one = fields.of_modalities(batch, (name,)) | {name: inner, "valid": batch["valid"]}
        features, valid, _ = self.encode(params, model_state, one, info)
        inner, weight = features[name], valid.get(name)
      logits = self.unimodal(params, name, inner, weight)
      return cross_entropy(logits, batch, info.replace(axis=None), having(name, batch))

    return masking.learn_corrupt(
      unimodal_loss,
      shape,
      info.device_key(f"learn/{name}"),
      steps=method.mask_steps,
      learning_rate=method.mask_lr,
      sparsity=method.mask_sparsity,
      temperature=method.mask_temperature,
      initial_logit=method.mask_initial_logit,
      schedule=method.mask_schedule,
      clip_norm=method.mask_clip,
      valid=fields.both(batch["valid"], real),
    )

  def guarded(
    self,
    name: str,
    corrupt: jax.Array,
    flagged: jax.Array,
    batch: Batch,
    info: Info,
    real: jax.Array | None = None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Replaces learned masks that mean nothing by random ones (docs/spec/synib.md 2.6).

    That is in the first `mask_warmup_epochs`, when the heads know nothing, and in a batch in which more
    than `mask_collapse_share` of the examples have nothing or everything of this modality flagged.

    Returns:
      (bool, True = replaced; `flagged_share` of the coordinates, which the learned masks leave alone, and
      `collapsed_share` of the examples, both before anything is replaced).
    """
    method = self.config.method
    collapsed = masking.is_uniform(corrupt, real).astype(jnp.float32)
    share = parallel.valid_mean(collapsed, having(name, batch), info.axis)
    metrics = {"flagged_share": flagged, "collapsed_share": share}
    if method.mask_warmup_epochs == 0 and method.mask_collapse_share == 1:
      return corrupt, metrics
    keys = info.keys(f"corrupt/{name}")
    random = masking.sample_corrupt(keys, corrupt.shape[1:], FALLBACK_PROBABILITY)
    meaningless = (info.epochs_done < method.mask_warmup_epochs) | (
      share > method.mask_collapse_share
    )
    return jnp.where(meaningless, random, corrupt), metrics

  @override
  def remarks(self, means: Mapping[str, np.ndarray], epoch: float) -> tuple[str, ...]:
    if epoch <= self.config.method.mask_warmup_epochs:
      return ()
    return tuple(
      f"config.method.mask=learned flags nothing or everything of {name!r} in most examples: without"
      " mask_collapse_share the mask is none, with it random. Its head may predict nothing yet, or"
      " mask_sparsity is too high (nothing) or too low (everything), or mask_steps x mask_lr too small"
      for name in self.dataset.modalities
      if np.any(means.get(f"collapsed_share/{name}", 0.0) > MANY)
    )

  def having_chosen(self, modality: int | jax.Array, batch: Batch) -> jax.Array:
    """Returns which real examples have the modality of this number, an int or traced; bool[batch]."""
    names = self.dataset.modalities
    if all(fields.present(batch, name) is None for name in names):
      return batch["valid"]
    return jnp.stack([having(name, batch) for name in names])[modality]

  def fuse_passes(
    self,
    params: Any,
    features: Features,
    corrupted: Arrays,
    corrupt: Arrays,
    valid: Valid,
    chosen: Sequence[int] | jax.Array,
    info: Info,
  ) -> tuple[jax.Array, jax.Array]:
    """Fuses the intact features and those of each counterfactual pass in one call.

    Returns:
      (trunk features [1 + passes, batch, width], logits [1 + passes, batch, classes]).
    """
    method = self.config.method
    hide = method.fill == "attention"
    passes = 1 + len(chosen)
    stop = lambda x: x if method.kl_updates_encoders else jax.lax.stop_gradient(x)  # noqa: E731
    stacked, bias = {}, {}
    for i, name in enumerate(features):
      clean, other = stop(features[name]), stop(corrupted[name])
      parts = [jnp.where(jnp.asarray(c) == i, other, clean) for c in chosen]
      stacked[name] = jnp.concatenate([features[name], *parts])
      if hide:
        hidden = jnp.where(corrupt[name], HARD_KEY_BIAS, 0.0)
        parts = [jnp.where(jnp.asarray(c) == i, hidden, 0.0) for c in chosen]
        bias[name] = jnp.concatenate([jnp.zeros_like(hidden), *parts])
    tiled = {name: jnp.concatenate([real] * passes) for name, real in valid.items()}
    feature, logits = self.fuse(params, stacked, tiled, info, bias)
    return feature.reshape(passes, -1, feature.shape[-1]), logits.reshape(
      passes, -1, logits.shape[-1]
    )

  def update_moments(
    self, model_state: Any, batch: Batch, features: Features, valid: Valid, info: Info
  ) -> Any:
    """Moves the running moments of the "ema" fill towards this batch."""
    if "moments" not in model_state:
      return model_state
    values, real = self.corruptible(batch, features, valid)
    moments = {}
    for name, x in values.items():
      counted = fields.both(batch["valid"], real.get(name))
      moments[name] = masking.update_moments(
        model_state["moments"][name], x, valid=counted, axis=info.axis
      )
    return {**model_state, "moments": moments}
