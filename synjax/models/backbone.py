"""What every model stands on: an encoder and an adapter of each modality, from a batch to tokens.

A head of any kind (contrastive, classes, decoders) is a subclass of `Backbone`, so that all read the same
tokens and their parameters lie at the same paths: `encoders_<modality>`, `adapters_<modality>`.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from synjax.data import fields
from synjax.models.adapters import ADAPTERS
from synjax.models.encoders import ENCODERS, PUBLISHED_FIELDS, TINY, TOWERS

# modality -> [batch, width], or tokens [batch, length, width]
Features = Mapping[str, jax.Array]
# modality -> what of its features is real, bool[batch] or bool[batch, length]; all is where none is given
Valid = Mapping[str, jax.Array]


class Outputs(NamedTuple):
  """What an encoder says of one modality.

  An encoder returns its features alone; or, where it changes the number of steps or pools by itself, a
  dict of them and any of the others.

  Attributes:
    features: [batch, ...]: a vector, a sequence or a map.
    valid: bool over leading axes of the features, [batch] or [batch, steps], True = real; None: all is.
    pooled: [batch, width], one vector an example, such as a class token; None: the encoder has none.
  """

  features: jax.Array
  valid: jax.Array | None
  pooled: jax.Array | None = None


class Backbone(nn.Module):
  """Encoders and adapters; which modalities take part is read from the batch.

  Attributes:
    encoders: modality -> module (x, *, valid, train, axis) -> features, or a dict: see `Outputs`.
    adapters: modality -> module: features -> tokens [batch, length, width].
  """

  encoders: Mapping[str, nn.Module]
  adapters: Mapping[str, nn.Module]

  def present_modalities(self, batch: Mapping[str, jax.Array]) -> list[str]:
    """Lists the modalities that a batch has, in fusion order."""
    return [name for name in self.encoders if name in batch]

  def outputs(
    self,
    batch: Mapping[str, jax.Array],
    name: str,
    *,
    train: bool = False,
    axis: str | None = None,
    counted: jax.Array | None = None,
  ) -> Outputs:
    """Encodes one modality of a batch.

    Args:
      batch: modality -> [batch, ...], with what else `synjax.data.fields` knows of it.
      name: the modality.
      train: training mode.
      axis: device axis of batch statistics, or None.
      counted: bool[batch], False = filler, for encoders that mix examples; None: no filler.

    Returns:
      Its features, and what of them is real.
    """
    encoder = self.encoders[name]
    steps, present = fields.valid(batch, name), fields.present(batch, name)
    read = steps
    if getattr(encoder, "mixes_examples", False):
      read = fields.both(fields.both(present, counted), steps)
    try:
      if fields.is_encoded(batch, name):
        found = batch[name]
      else:
        found = encoder(batch[name], valid=read, train=train, axis=axis)
    except ValueError as error:  # of an encoder that does not fit the inputs
      raise ValueError(f"config.model.modalities.{name}.encoder: {error}") from error
    if not isinstance(found, Mapping):
      found = {"features": found}
    features = found["features"]
    # Nothing of an encoder that pools is padding: its vector stands for all the steps.
    steps = found.get("valid", steps) if features.ndim == 3 else None
    return Outputs(features, fields.both(present, steps), found.get("pooled"))

  def adapted(self, name: str, features: jax.Array) -> jax.Array:
    """Returns a modality's features as tokens [batch, length, width], by its adapter."""
    try:
      return self.adapters[name](features)
    except ValueError as error:  # of an adapter that does not fit the encoder
      raise ValueError(f"config.model.modalities.{name}.adapter: {error}") from error

  def vector(self, name: str, found: Outputs) -> jax.Array:
    """Returns one vector an example of what a modality's encoder said, [batch, width].

    What the encoder pools by itself, else its features where they are vectors, else the mean of the
    adapter's real tokens.
    """
    x = found.features if found.pooled is None else found.pooled
    if x.ndim == 2:
      return x
    tokens = self.adapted(name, x)
    return mean_of_tokens(tokens, valid_tokens(found.valid, tokens))

  def encode_views(self, encode: Callable[[Any], Any], views: Sequence[Any]) -> Any:
    """Encodes training views, one after the other along the batch.

    Args:
      encode: from a batch to a tree of arrays [batch, ...].
      views: batches.

    Returns:
      The tree, leaves [views * batch, ...].
    """
    join = lambda *parts: jnp.concatenate(parts)  # noqa: E731
    if any(getattr(encoder, "mixes_examples", False) for encoder in self.encoders.values()):
      # Statistics are those of one view, as in the published code.
      return jax.tree.map(join, *[encode(view) for view in views])
    # No encoder mixes examples, so all views are one batch: one program, larger products.
    return encode(jax.tree.map(join, *views))

  def tokens_of(
    self,
    batch: Mapping[str, jax.Array],
    *,
    train: bool = False,
    axis: str | None = None,
    counted: jax.Array | None = None,
  ) -> tuple[Features, Valid]:
    """Encodes the modalities present in `batch`, see `outputs`.

    Returns:
      (modality -> tokens [batch, length, width]; modality -> bool[batch, length], True = real, without
      those of which everything is).
    """
    tokens, valid = {}, {}
    for name in self.present_modalities(batch):
      found = self.outputs(batch, name, train=train, axis=axis, counted=counted)
      tokens[name] = self.adapted(name, found.features)
      real = valid_tokens(found.valid, tokens[name])
      if real is not None:
        valid[name] = real
    return tokens, valid


def valid_tokens(real: jax.Array | None, tokens: jax.Array) -> jax.Array | None:
  """Returns which tokens [batch, length, width] are real, bool[batch, length], by `encode`'s account."""
  if real is None:
    return None
  return jnp.broadcast_to(real.reshape(real.shape[0], -1), tokens.shape[:2])


def mean_of_tokens(tokens: jax.Array, weight: jax.Array | None) -> jax.Array:
  """Averages [batch, length, width] over tokens, each counted `weight` [batch, length] times."""
  if weight is None:
    return tokens.mean(axis=1)
  weight = weight.astype(tokens.dtype)[..., None]
  return (tokens * weight).sum(axis=1) / jnp.maximum(weight.sum(axis=1), 1e-6)


def join_tokens(
  tokens: Features, values: Mapping[str, jax.Array], default: bool | float
) -> jax.Array | None:
  """Concatenates [batch, length] values over modalities, `default` where absent; None if all are."""
  if not values:
    return None
  parts = [values.get(m, jnp.full(t.shape[:2], default)) for m, t in tokens.items()]
  return jnp.concatenate(parts, axis=1)


def present_subsets(batch: Mapping[str, jax.Array], modalities: Sequence[str]) -> jax.Array | None:
  """Returns which examples have each unimodal subset and any modality at all, bool[subsets, batch].

  In the order of the fusion's subset embeddings; None: every example has every modality.
  """
  names = [name for name in modalities if name in batch]
  known = [fields.present(batch, name) for name in names]
  if all(present is None for present in known):
    return None
  everyone = jnp.ones(batch[names[0]].shape[0], bool)
  rows = jnp.stack([everyone if present is None else present for present in known])
  return jnp.concatenate([rows, rows.any(axis=0, keepdims=True)])


def build_modules(
  config: ConfigDict, modalities: Sequence[str], dtype: Any, protocol: str
) -> tuple[dict, dict]:
  """Creates (encoders, adapters), modality -> module; ValueError as `create`."""
  missing = [name for name in modalities if name not in config.modalities]
  if missing:
    raise ValueError(f"config.model.modalities: no entry for {missing} of the dataset's modalities")
  return tuple(
    {m: _build(known, config, m, part, published, dtype) for m in modalities}
    for known, part, published in (
      (ENCODERS, "encoder", PUBLISHED_FIELDS if protocol == "paper" else {}),
      (ADAPTERS, "adapter", {}),
    )
  )


# What of a tower read from a folder a config may still say; the rest is what the weights are.
TOWER_FIELDS = ("attention", "attention_dropout", "dropout", "output", "remat")


def pretrained_tower(
  where: str, folder: str, expected: type, fields: Mapping[str, Any], dtype: Any
) -> nn.Module:
  """Creates the tower of a folder, without its weights.

  Args:
    where: the config field, for messages.
    folder: of a published tower, see `synjax.models.pretrained.load`.
    expected: the encoder that the config names.
    fields: further fields of the config.
    dtype: computation type.

  Returns:
    The module.

  Raises:
    OSError: the folder lacks a file.
    ValueError: it holds another tower, or a field is one that the weights decide.
  """
  from synjax.models import pretrained  # needs safetensors, which runs without weights do not

  module = pretrained.describe(folder)
  if isinstance(getattr(module, "vision", None), expected):
    module = module.vision
  elif isinstance(getattr(module, "text", None), expected):
    module = module.text
  if not isinstance(module, expected):
    raise ValueError(
      f"{where}.weights: expected a folder of {expected.__name__}, found {type(module).__name__} in "
      f"{folder}; name another folder or encoder"
    )
  wrong = sorted(set(fields) - (set(TOWER_FIELDS) & set(expected.__dataclass_fields__)))
  if wrong:
    raise ValueError(f"{where}: expected no {wrong} beside weights, which decide it; remove them")
  return module.clone(**fields, dtype=dtype)


def spelled_out(where: str, entry: Mapping[str, Any]) -> dict[str, Any]:
  """Returns the encoder entry of a config without `weights`: with the fields that they decide instead.

  Args:
    where: the config field, for messages.
    entry: nested dict of plain values.

  Returns:
    The entry of a tower of the same sizes, which needs no folder.

  Raises:
    OSError: the folder lacks a file.
    ValueError: it holds another tower.
  """
  fields = dict(entry)
  name, folder = fields.pop("name"), fields.pop("weights", None)
  if not folder:
    return {"name": name, **fields}
  fields.pop("size", None)  # "": the weights decide it
  module = pretrained_tower(where, folder, ENCODERS[name], fields, None)
  decided = [field.name for field in dataclasses.fields(module) if field.init]
  return {"name": name} | {
    field: getattr(module, field) for field in decided if field not in ("parent", "name", "dtype")
  }


def _build(
  known: Mapping[str, Any],
  config: ConfigDict,
  modality: str,
  part: str,
  published: Mapping,
  dtype: Any,
) -> nn.Module:
  """Creates one encoder or adapter from its config entry."""
  where = f"config.model.modalities.{modality}.{part}"
  fields = config.modalities[modality][part].to_dict()
  name = fields.pop("name", None)
  if name not in known:
    raise ValueError(f"{where}.name: expected one of {sorted(known)}, found {name!r}")
  folder, size = fields.pop("weights", None), fields.pop("size", "")
  if size not in ("", "tiny") or (size and name not in TINY):
    raise ValueError(
      f"{where}.size: expected empty, or tiny for one of {sorted(TINY)}, found {size!r} for {name}"
    )
  if folder and size:
    raise ValueError(f"{where}.size: expected none beside weights, which decide it; remove one")
  if folder:
    return pretrained_tower(where, folder, known[name], fields, dtype)
  fields = {**(TINY[name] if size else {}), **fields}
  if "width" in known[name].__dataclass_fields__ and name not in TOWERS:  # those have their own
    fields.setdefault("width", config.width)
  fields = {**published.get(name, {}), **fields}
  unknown = sorted(set(fields) - set(known[name].__dataclass_fields__))
  if unknown:
    raise ValueError(f"{where}: {name} has no field {unknown}")
  required = [f.name for f in dataclasses.fields(known[name]) if _is_required(f)]
  if missing := [field for field in required if field not in fields]:
    raise ValueError(
      f"{where}: {name} needs {', '.join(missing)}, found none; set --{where}.{missing[0]}=VALUE"
    )
  return known[name](**fields, dtype=dtype)


def _is_required(field: dataclasses.Field) -> bool:
  """Says whether a network cannot be built without a field."""
  default, factory = field.default, field.default_factory
  return field.init and default is dataclasses.MISSING and factory is dataclasses.MISSING
