"""The masked autoencoder: a transformer on the visible tokens of all modalities, a decoder of each.

Unlike `Backbone` it cuts the inputs themselves into tokens: what an encoder makes of its neighbours would
tell of a masked token what is to be reconstructed.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from synjax.data import fields
from synjax.models.adapters import sincos_table_1d, sincos_table_2d
from synjax.models.backbone import join_tokens, mean_of_tokens, valid_tokens
from synjax.models.block import ABSENT, Block, layer_norm
from synjax.models.layers import Dense, space_to_depth

_PATCH_EPSILON = 1e-6  # of the variance of a patch


class Reconstruction(NamedTuple):
  """What a decoder says of a modality.

  Attributes:
    prediction: [batch, tokens, features].
    target: likewise: patches of an image, each standardised, or what was given.
    masked: bool[batch, tokens], True = real and hidden from the encoder.
  """

  prediction: jax.Array
  target: jax.Array
  masked: jax.Array


class Decoder(nn.Module):
  """Predicts every token of one modality from what the encoder made of the visible tokens of all.

  Queries, one learned vector plus the position code of each token, stand beside a linear map of the
  encoded class token and visible tokens in pre-norm transformer blocks, and are read by a linear map.

  Attributes:
    width: of its tokens.
    num_heads: of its blocks.
    num_layers: its blocks.
    dtype: computation type.
  """

  width: int
  num_heads: int
  num_layers: int
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    encoded: jax.Array,
    real: jax.Array,
    positions: np.ndarray,
    valid: jax.Array | None,
    features: int,
  ) -> jax.Array:
    """Predicts tokens.

    Args:
      encoded: [batch, rows, encoder's width].
      real: bool[batch, rows], False = not a token.
      positions: codes [tokens, width].
      valid: bool[batch, tokens], False = padding; None: nothing is.
      features: of a token.

    Returns:
      [batch, tokens, features].
    """
    batch, rows, _ = encoded.shape
    context = Dense(self.width, dtype=self.dtype, name="context")(encoded)
    normal = nn.initializers.normal(0.02)
    token = self.param("mask_token", normal, (1, 1, self.width), jnp.float32)
    query = (token + positions).astype(context.dtype)
    x = jnp.concatenate([context, jnp.broadcast_to(query, (batch, *query.shape[1:]))], axis=1)
    valid = jnp.ones((batch, len(positions)), bool) if valid is None else valid
    log_count = jnp.where(jnp.concatenate([real, valid], axis=1), 0.0, ABSENT)
    for i in range(self.num_layers):
      options = (self.width, self.num_heads, self.num_layers, self.dtype)
      x = Block(*options, name=f"block_{i}")(x, log_count)
    x = layer_norm(self.dtype)(x[:, rows:])
    return Dense(features, dtype=self.dtype, name="out")(x)


class MaskedAutoencoder(nn.Module):
  """MAE (arXiv 2111.06377) of several modalities, a small MultiMAE (arXiv 2204.01678).

  Tokens are patches of an image, steps of a sequence, or a whole vector: a linear map of each plus a
  fixed sine-cosine code of its position and a learned code of its modality. A class token and the visible
  ones go through pre-norm transformer blocks and a LayerNorm.

  Source: docs/spec/baselines.md 3.8. Which modalities take part is read from the batch.

  Attributes:
    modalities: names, in order.
    width: of tokens, a multiple of num_heads, and of 4 for positions.
    num_heads: attention heads, of decoders too.
    num_layers: blocks of the encoder.
    decoder_width: of decoders' tokens, likewise a multiple.
    decoder_layers: blocks of a decoder.
    patch: side of an image's patches, in pixels.
    pool: representation: "cls", or "mean" of the real tokens.
    dtype: computation type.
  """

  modalities: Sequence[str]
  width: int
  num_heads: int
  num_layers: int
  decoder_width: int
  decoder_layers: int
  patch: int
  pool: str = "cls"
  dtype: Any = None

  def setup(self):
    """Creates the parameters."""
    normal, shape = nn.initializers.normal(0.02), (1, 1, self.width)
    self.cls_token = self.param("cls_token", normal, shape, jnp.float32)
    self.codes = {m: self.param(f"code_{m}", normal, shape, jnp.float32) for m in self.modalities}
    self.embed = {m: Dense(self.width, dtype=self.dtype) for m in self.modalities}
    options = (self.width, self.num_heads, self.num_layers, self.dtype)
    self.block = [Block(*options) for _ in range(self.num_layers)]
    self.norm = layer_norm(self.dtype)
    decoder = (self.decoder_width, self.num_heads, self.decoder_layers, self.dtype)
    self.decoders = {m: Decoder(*decoder) for m in self.modalities}

  def parts(self, batch: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Cuts the modalities of a batch into tokens: modality -> [batch, tokens, features].

    Raises:
      ValueError: the patch does not divide an image's sides.
    """
    return {m: _cut(m, batch[m], self.patch) for m in self.modalities if m in batch}

  def valid(
    self, batch: Mapping[str, jax.Array], parts: Mapping[str, jax.Array]
  ) -> dict[str, jax.Array]:
    """Returns modality -> bool[batch, tokens], True = real, without those of which everything is."""
    known = {m: fields.both(fields.present(batch, m), fields.valid(batch, m)) for m in parts}
    return {m: valid_tokens(real, parts[m]) for m, real in known.items() if real is not None}

  def encode(
    self,
    batch: Mapping[str, jax.Array],
    keep: jax.Array | None = None,
    num_kept: int | None = None,
  ) -> tuple[jax.Array, jax.Array]:
    """Encodes the visible tokens.

    Args:
      batch: modality -> [batch, ...]; modalities may be left out.
      keep: bool[batch, tokens], True = visible, at most `num_kept` of an example and none of its padding;
        None: all are.
      num_kept: static.

    Returns:
      (class token and tokens [batch, 1 + tokens or num_kept, width]; which are real, bool).
    """
    parts, tokens = self.parts(batch), {}
    for name, x in parts.items():
      positions = _positions(batch[name].shape, self.patch, self.width)
      embedded = self.embed[name](x)
      tokens[name] = embedded + (positions + self.codes[name]).astype(embedded.dtype)
    x = jnp.concatenate(list(tokens.values()), axis=1)
    real = join_tokens(tokens, self.valid(batch, parts), True)
    real = jnp.ones(x.shape[:2], bool) if real is None else real
    x = jnp.where(real[..., None], x, 0)  # whatever fills the padding is gone
    if keep is not None:
      # One-hot product: see `models.fusion`. Row r is the r-th token that is kept.
      rank = jnp.cumsum(keep, axis=1) - 1
      select = keep[:, None] & (rank[:, None] == jnp.arange(num_kept)[:, None])
      real = select.any(-1)
      highest = jax.lax.Precision.HIGHEST
      x = jnp.einsum("brl,blw->brw", select.astype(x.dtype), x, precision=highest)
    cls = jnp.broadcast_to(self.cls_token.astype(x.dtype), (x.shape[0], 1, self.width))
    x, real = (
      jnp.concatenate([cls, x], axis=1),
      jnp.pad(real, ((0, 0), (1, 0)), constant_values=True),
    )
    for block in self.block:
      x = block(x, jnp.where(real, 0.0, ABSENT))
    return self.norm(x), real

  def __call__(self, batch: Mapping[str, jax.Array]) -> jax.Array:
    """Embeds a batch with all its tokens: [batch, width]."""
    x, real = self.encode(batch)
    return x[:, 0] if self.pool == "cls" else mean_of_tokens(x[:, 1:], real[:, 1:])

  def reconstruct(
    self, batch: Mapping[str, jax.Array], keep: jax.Array, num_kept: int
  ) -> dict[str, Reconstruction]:
    """Encodes the visible tokens and predicts all of every modality; arguments are of `encode`."""
    encoded, real = self.encode(batch, keep, num_kept)
    parts = self.parts(batch)
    valid, found, start = self.valid(batch, parts), {}, 0
    for name, x in parts.items():
      positions = _positions(batch[name].shape, self.patch, self.decoder_width)
      prediction = self.decoders[name](encoded, real, positions, valid.get(name), x.shape[-1])
      masked = ~keep[:, start : start + x.shape[1]]
      target = _standardize(x) if batch[name].ndim == 4 else x
      found[name] = Reconstruction(prediction, target, fields.both(masked, valid.get(name)))
      start += x.shape[1]
    return found

  def initialize(self, batch: Mapping[str, jax.Array]) -> Any:
    """Touches every parameter once, for `init`."""
    total = sum(x.shape[1] for x in self.parts(batch).values())
    return self.reconstruct(
      batch, jnp.ones((batch[self.modalities[0]].shape[0], total), bool), total
    )


def _cut(name: str, x: jax.Array, patch: int) -> jax.Array:
  """Returns the tokens [batch, tokens, features] of an image, a sequence or a vector."""
  if x.ndim == 2:
    return x[:, None]
  if x.ndim == 3:
    return x
  if x.shape[1] % patch or x.shape[2] % patch:
    raise ValueError(
      f"config.method.patch: expected a divisor of the sides of {name}, {x.shape[1]} x {x.shape[2]},"
      f" found {patch}"
    )
  cells = space_to_depth(x, patch)
  return cells.reshape(x.shape[0], -1, cells.shape[-1])


def _positions(shape: Sequence[int], patch: int, width: int) -> np.ndarray:
  """Returns the position codes [tokens, width] of inputs of a shape; a vector's are 0."""
  if len(shape) == 2:
    return np.zeros((1, width), np.float32)
  if len(shape) == 3:
    return sincos_table_1d(shape[1], width)
  table = sincos_table_2d(shape[1] // patch, shape[2] // patch, width)
  return table.reshape(-1, width)


def _standardize(patches: jax.Array) -> jax.Array:
  """Gives every patch [..., features] mean 0 and variance 1."""
  centred = patches - patches.mean(axis=-1, keepdims=True)
  variance = jnp.square(centred).mean(axis=-1, keepdims=True)
  return centred * jax.lax.rsqrt(variance + _PATCH_EPSILON)
