"""What SynIB and its controls share: which features of which modality a step replaces, and by what."""

import dataclasses
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

MASKS = ("random", "oracle", "oracle_active", "learned", "full", "both")
SITES = ("input", "latent", "token")
HARD_KEY_BIAS = -1e9  # logit of a token that attention must not see; finite, so that no NaN arises
# Of random masks in place of learned ones, and the share of examples from which on a warning is due.
FALLBACK_PROBABILITY = 0.5
MANY = 0.9
Arrays = Mapping[str, jax.Array]  # modality -> array


@dataclasses.dataclass(frozen=True)
class Branch:
  """One way in which every modality is corrupted.

  Attributes:
    corrupted: modality -> its feature after corruption.
    corrupt: modality -> what is replaced, True or 1.
    trains_encoders: False: what is computed from it trains trunk and heads alone.
  """

  corrupted: Arrays
  corrupt: Arrays
  trains_encoders: bool = True


class CorruptionMethod(ClassifierMethod):
  """A method with counterfactual passes: x~_m = (1 - c) x_m + c eps, one modality corrupted at a time.

  What is padding, filler or an absent modality is neither corrupted nor taken for a replacement
  (SynIB, Eq. 15; docs/spec/synib.md 2). `mask` both corrupts twice, by random and by learned masks, each
  with passes of its own: two branches.
  """

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    self.check_range("corrupt_probability", 0, 1)
    self.check_range("mask_warmup_epochs", 0)
    self.check_range("mask_collapse_share", 0, 1)
    self.check_range("mask_sparsity_ramp_epochs", 0)
    method = config.method
    self.check_choice("mask", MASKS)
    self.check_choice("site", SITES)
    self.check_choice("gates", masking.GATES)
    self.check_choice("corrupts", masking.CORRUPTS)
    fills = (*masking.FILLS, *(("attention",) if method.site == "token" else ()))
    self.check_choice("fill", fills)
    self.check_choice("learned_fill", ("", *fills))
    if "attention" in (method.fill, method.learned_fill) and (
      method.gates == "soft" or method.learned_fill not in ("", method.fill)
    ):
      raise ValueError(
        "config.method.fill: attention hides whole tokens: expected gates=hard and learned_fill empty,"
        f" found {method.gates!r} and {method.learned_fill!r}; choose another fill"
      )
    if method.mask.startswith("oracle"):
      self._check_oracle()
    if method.site == "token" and not self.model.trunk.reads_tokens:
      raise ValueError(
        "config.method.site: token needs config.model.trunk.name=transformer, found"
        f" {config.model.trunk.name!r}"
      )

  def _check_oracle(self) -> None:
    """Raises ValueError where the dataset or the site has no oracle."""
    method, dataset = self.config.method, self.dataset
    if method.site != "input" or not dataset.informative:
      raise ValueError(
        f"config.method.mask: {method.mask} needs site=input and a dataset that knows its informative"
        f" features, found site={method.site!r} and dataset {dataset.name}"
      )
    if dataset.bases and method.fill == "ema":
      raise ValueError(
        f"config.method.fill: {method.mask} replaces the sources of rotated features, whose moments are"
        " not kept: expected noise, zeros or shuffle, found ema"
      )
    if method.mask == "oracle_active" and not dataset.synergies:
      raise ValueError(
        "config.method.mask: oracle_active needs a dataset that knows which examples are synergistic,"
        f" found {dataset.name}; choose oracle"
      )

  @property
  def branches(self) -> tuple[str, ...]:
    """Names the masks that a step draws, each for passes of its own."""
    mask = self.config.method.mask
    return ("random", "learned") if mask == "both" else (mask,)

  def fill_of(self, kind: str) -> str:
    """Returns by what a branch replaces."""
    method = self.config.method
    return (method.learned_fill if kind == "learned" else "") or method.fill

  def asks_heads(self) -> str | None:
    """Returns the setting that relies on what the unimodal heads predict; None: nothing does."""
    return f"mask={self.config.method.mask}" if "learned" in self.branches else None

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
    if "ema" in map(self.fill_of, self.branches):
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
    kind: str | None = None,
  ) -> tuple[Arrays, Arrays, dict[str, jax.Array]]:
    """Corrupts every modality, by the masks of one branch; None: of the first.

    Returns:
      (replaced: modality -> corrupted input or feature, [batch, ...]; corrupt: modality -> bool, True =
      replaced, or of soft gates float in [0, 1]; metrics of learned masks, see `guarded`).
    """
    kind = kind or self.branches[0]
    first, fill = kind == self.branches[0], self.fill_of(kind)
    values, real = self.corruptible(batch, features, valid)
    no_filler = batch["valid"] if self.config.keep_partial_batch else None
    replaced, corrupt, metrics = {}, {}, {}
    for name, x in values.items():
      shape, known = x.shape[:2] if self.config.method.site == "token" else x.shape, real.get(name)
      drawn, found = self.draw(name, params, model_state, batch, x, shape, info, known, kind)
      metrics |= {f"{metric}/{name}": value for metric, value in found.items()}
      corrupt[name] = fields.both(known, drawn) if drawn.dtype == bool else drawn
      if fill == "attention":
        replaced[name] = x
      else:
        stream = name if first else f"{kind}/{name}"
        keys, order_key = info.keys(f"fill/{stream}"), info.device_key(f"shuffle/{stream}")
        taken, basis = fields.both(no_filler, known), self._basis(name, batch, kind)
        x = basis.to_sources(x)
        eps = self.replacement(fill, name, model_state, x, keys, order_key, taken)
        replaced[name] = basis.to_features(masking.gate(x, eps, corrupt[name]))
    return replaced, corrupt, metrics

  def _basis(self, name: str, batch: Batch, kind: str) -> masking.Basis:
    """Returns the basis in which a branch replaces a modality's features."""
    if not kind.startswith("oracle") or name not in self.dataset.bases:
      return masking.Basis()
    matrix = jnp.asarray(self.dataset.bases[name])
    return masking.Basis(matrix, batch[f"{name}_mean"], batch[f"{name}_deviation"])

  def counterfactuals(
    self,
    params: Any,
    model_state: Any,
    batch: Batch,
    features: Features,
    valid: Valid,
    info: Info,
  ) -> tuple[list[Branch], dict[str, jax.Array]]:
    """Corrupts every modality by every branch and encodes what was corrupted as input.

    Returns:
      (branches; metrics: those of `corrupt`, and the shares of the real entries that are replaced).
    """
    method, found, metrics = self.config.method, [], {}
    _, real = self.corruptible(batch, features, valid)
    for kind in self.branches:
      replaced, corrupt, learned = self.corrupt(
        params, model_state, batch, features, valid, info, kind
      )
      metrics |= learned
      prefix = "" if kind == self.branches[0] else f"{kind}_"
      for name, c in corrupt.items():
        share = masking.share_of(c, real.get(name))
        share = parallel.valid_mean(share, having(name, batch), info.axis)
        metrics[f"{prefix}corrupt_share/{name}"] = share
      if method.site == "input":
        stream, corrupted = f"{prefix}corrupted", {**batch, **replaced}
        replaced = self.encode(params, model_state, corrupted, info, stream)[0]
      trains = method.kl_updates_encoders
      trains &= kind != "learned" or method.learned_updates_encoders
      found.append(Branch(replaced, corrupt, trains))
    return found, metrics

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
      donors_learn=self.config.method.donors_learn,
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
    kind: str | None = None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Draws the mask of a branch, bool `shape`, True = replaced; returns it with a learned one's metrics.

    Of learned soft gates it is float `shape`, in [0, 1].
    """
    kind = kind or self.branches[0]
    if kind == "full":
      return jnp.ones(shape, bool), {}
    if kind in ("oracle", "oracle_active"):
      informative = jnp.broadcast_to(jnp.asarray(self.dataset.informative[name]), shape)
      return fields.both(self._synergistic(batch, kind), informative), {}
    if kind == "learned":
      flags = self.learn(name, params, model_state, batch, x, shape, info, real)
      return self.guarded(name, flags, batch, info, real)
    keys = info.keys(f"corrupt/{name}")
    random = masking.sample_corrupt(keys, shape[1:], info.hyper["method.corrupt_probability"])
    return random, {}

  def _synergistic(self, batch: Batch, kind: str) -> jax.Array | None:
    """Returns the examples whose informative features an oracle corrupts, bool[batch]; None: all."""
    if kind == "oracle":
      return None
    of_synergy = [source in self.dataset.synergies for source in self.dataset.sources]
    return jnp.asarray(of_synergy)[batch["source"]]

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
  ) -> jax.Array:
    """Learns which coordinates the modality's own prediction lives on: flags, float `shape`."""
    method, chosen = self.config.method, self.fill_of("learned")

    def unimodal_loss(flagged, key):
      weight = real
      if chosen == "attention":
        inner, weight = x, (1.0 - flagged) * (1.0 if real is None else real)
      else:
        fill = "noise" if chosen == "shuffle" else chosen
        keys = jax.random.split(key, x.shape[0])
        inner = masking.gate(x, self.replacement(fill, name, model_state, x, keys), flagged)
      if method.site == "input":
        one = fields.of_modalities(batch, (name,)) | {name: inner, "valid": batch["valid"]}
        features, valid, _ = self.encode(params, model_state, one, info)
        inner, weight = features[name], valid.get(name)
      logits = self.unimodal(params, name, inner, weight)
      return cross_entropy(logits, batch, info.replace(axis=None), having(name, batch))

    return masking.learn_flags(
      unimodal_loss,
      shape,
      info.device_key(f"learn/{name}"),
      steps=method.mask_steps,
      learning_rate=method.mask_lr,
      sparsity=method.mask_sparsity * ramp(method.mask_sparsity_ramp_epochs, info),
      temperature=method.mask_temperature,
      initial_logit=method.mask_initial_logit,
      schedule=method.mask_schedule,
      clip_norm=method.mask_clip,
      valid=fields.both(batch["valid"], real),
    )

  def guarded(
    self,
    name: str,
    flags: jax.Array,
    batch: Batch,
    info: Info,
    real: jax.Array | None = None,
  ) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Returns the mask of learned flags; random ones where they mean nothing (docs/spec/synib.md 2.6).

    That is in the first `mask_warmup_epochs`, when the heads know nothing, and in a batch in which more
    than `mask_collapse_share` of the examples have nothing or everything of this modality flagged.

    Returns:
      (the mask; `flagged_share` of the coordinates, `collapsed_share` of the examples, and `measures`,
      all before anything is replaced).
    """
    method, known = self.config.method, fields.both(batch["valid"], real)
    corrupt = masking.corrupt_of(flags, known, gates=method.gates, corrupts=method.corrupts)
    collapsed = masking.is_uniform(masking.corrupt_of(flags, known), real).astype(jnp.float32)
    share = parallel.valid_mean(collapsed, having(name, batch), info.axis)
    metrics = {"flagged_share": masking.flagged_share(flags, known), "collapsed_share": share}
    metrics |= self.measures(name, flags, batch, info)
    if method.mask_warmup_epochs == 0 and method.mask_collapse_share == 1:
      return corrupt, metrics
    stream = name if self.branches[0] == "learned" else f"learned/{name}"
    keys = info.keys(f"corrupt/{stream}")
    random = masking.sample_corrupt(keys, corrupt.shape[1:], FALLBACK_PROBABILITY)
    meaningless = (info.epochs_done < method.mask_warmup_epochs) | (
      share > method.mask_collapse_share
    )
    random = fields.both(real, random).astype(corrupt.dtype)
    return jnp.where(meaningless, random, corrupt), metrics

  def measures(self, name: str, flags: jax.Array, batch: Batch, info: Info) -> dict[str, jax.Array]:
    """Returns how well flags agree with each other and, if known, with what tells the label alone.

    `mask_split_half` always; where inputs are masked whose predictive features the dataset knows, the
    means over examples of `mask_iou`, `mask_precision`, `mask_recall` and `mask_auroc`
    (docs/spec/synib_release.md 7; there on 64 validation examples, here on the batch).
    """
    counted = having(name, batch)
    found = {"mask_split_half": masking.split_half(flags, counted)}
    truth = self.dataset.predictive.get(name)
    if self.config.method.site != "input" or truth is None or not truth.any():
      return found
    truth = jnp.asarray(truth)
    rows = masking.overlap(flags > 0.5, truth) | {"auroc": masking.auroc(flags, truth)}
    means = {n: parallel.valid_mean(row, counted, info.axis) for n, row in rows.items()}
    return found | {f"mask_{n}": mean for n, mean in means.items()}

  @override
  def remarks(self, means: Mapping[str, np.ndarray], epoch: float) -> tuple[str, ...]:
    if epoch <= self.config.method.mask_warmup_epochs:
      return ()
    return tuple(
      f"config.method.mask={self.config.method.mask} flags nothing or everything of {name!r} in most"
      " examples: without mask_collapse_share the mask is none, with it random. Its head may predict"
      " nothing yet, or mask_sparsity is too high (nothing) or too low (everything), or mask_steps x"
      " mask_lr too small"
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
    branches: Sequence[Branch],
    valid: Valid,
    chosen: Sequence[int] | jax.Array,
    info: Info,
  ) -> tuple[jax.Array, jax.Array]:
    """Fuses the intact features and those of each counterfactual pass in one call.

    Returns:
      (trunk features [1 + passes, batch, width], logits [1 + passes, batch, classes]); the passes are
      those of the first branch, one for each of `chosen`, then those of the next.
    """
    hide = self.config.method.fill == "attention"
    passes = 1 + len(branches) * len(chosen)
    stacked, bias = {}, {}
    for i, name in enumerate(features):
      parts, hidden = [features[name]], []
      for branch in branches:
        both = features[name], branch.corrupted[name]
        clean, other = both if branch.trains_encoders else jax.lax.stop_gradient(both)
        parts += [jnp.where(jnp.asarray(c) == i, other, clean) for c in chosen]
        if hide:
          away = jnp.where(branch.corrupt[name], HARD_KEY_BIAS, 0.0)
          hidden += [jnp.where(jnp.asarray(c) == i, away, 0.0) for c in chosen]
      stacked[name] = jnp.concatenate(parts)
      if hide:
        bias[name] = jnp.concatenate([jnp.zeros_like(hidden[0]), *hidden])
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


def ramp(epochs: float, info: Info) -> jax.Array | float:
  """Returns min(1, (epoch + 1) / epochs), what a weight is multiplied by that rises at first; 0: is 1."""
  return jnp.minimum(1.0, (info.epoch + 1) / epochs) if epochs else 1.0
