"""DeBERTa-v2 and v3, the text tower of Hateful Memes."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from synjax.models import tower_layers
from synjax.models.layers import Dropout

TERMS = ("c2p", "p2c")


class Deberta(nn.Module):
  """DeBERTa [@he2021deberta], v3 [@he2023debertav3], text encoder of docs/spec/synib_release.md 8.

  LN(token embeddings), then `num_layers` post-norm layers x <- LN(x + Drop(Attention(x))),
  x <- LN(x + Drop(W2 act(W1 x + b1) + b2)) with disentangled attention,

    logits_ij = (q_i.k_j + q_i.K_r(i-j) + k_j.Q_r(i-j)) / sqrt(3 d),

  K_r = W_k R_r + b_k and Q_r = W_q R_r + b_q of LayerNormed relative embeddings R, which all layers
  share, and r(i-j) the bucket of a distance: its own for near ones, logarithmic for far ones.

  Attributes:
    width: width of the tokens, a multiple of `num_heads`.
    num_layers: layers.
    num_heads: attention heads.
    hidden: width of the feed-forward hidden layer.
    vocabulary: number of token ids.
    max_length: longest text.
    buckets: of distances in either direction; 0: every distance up to `max_distance` has its own.
    max_distance: which distance the last bucket is for.
    terms: which relative terms there are, of "c2p" (q.K) and "p2c" (k.Q).
    share_keys: relative keys and queries use the projections of the tokens, or have their own.
    norm_relative: LayerNorm on the relative embeddings.
    absolute: whether absolute positions are added to the token embeddings.
    token_types: number of segment embeddings, of which the first is added; 0: none.
    activation: see `tower_layers.ACTIVATIONS`.
    dropout: rate in training of embeddings and sublayers.
    attention_dropout: rate in training of the attention weights.
    epsilon: of the norms.
    attention: implementation of `jax.nn.dot_product_attention`: None, "xla" or "cudnn".
    remat: recompute a layer's activations in the backward pass.
    dtype: computation type.
  """

  width: int = 768
  num_layers: int = 12
  num_heads: int = 12
  hidden: int = 3072
  vocabulary: int = 128100
  max_length: int = 512
  buckets: int = 256
  max_distance: int = 512
  terms: tuple[str, ...] = TERMS
  share_keys: bool = True
  norm_relative: bool = True
  absolute: bool = False
  token_types: int = 0
  activation: str = "gelu"
  dropout: float = 0.1
  attention_dropout: float = 0.1
  epsilon: float = 1e-7
  attention: Literal["xla", "cudnn"] | None = None
  remat: bool = False
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    valid: jax.Array | None = None,
    train: bool = False,
    axis: str | None = None,
  ) -> jax.Array:
    """Encodes texts.

    Args:
      x: int[batch, length], token ids.
      valid: bool[batch, length], False = padding; None: all real.
      train: dropout is on and needs the stream "dropout".
      axis: not used.

    Returns:
      [batch, length, width], last hidden states; padding holds finite values without meaning.

    Raises:
      ValueError: x holds no token ids, or too many, or a field has a value without meaning.
    """
    del axis
    self._check(x)
    x = Dropout(self.dropout)(self._embed(x), train=train)
    span = self.buckets or self.max_distance
    relative = self.param("relative", tower_layers.NORMAL, (2 * span, self.width))
    _, relative = promote_dtype(x, relative, dtype=self.dtype)
    if self.norm_relative:
      relative = tower_layers.layer_norm(self.epsilon, self.dtype, "norm_relative")(relative)
    layer = nn.remat(_Layer, static_argnums=(4,)) if self.remat else _Layer
    fields = (self.num_heads, self.hidden, self.activation, self.dropout, self.attention_dropout)
    fields += (self.epsilon, tuple(self.terms), self.share_keys, self.buckets, self.max_distance)
    for i in range(self.num_layers):
      fields_of = (*fields, self.attention, self.dtype)
      x = layer(*fields_of, name=f"layer_{i}")(x, relative, valid, train)
    return x

  def _embed(self, ids):
    """Token embeddings [batch, length, width] after their norm."""
    x = tower_layers.embedding(self.vocabulary, self.width, self.dtype, "tokens")(ids)
    if self.absolute:
      shape = (self.max_length, self.width)
      positions = self.param("positions", tower_layers.NORMAL, shape)
      x = sum(promote_dtype(x, positions[: ids.shape[1]], dtype=self.dtype))
    if self.token_types:
      shape = (self.token_types, self.width)
      segments = self.param("segments", tower_layers.NORMAL, shape)
      x = sum(promote_dtype(x, segments[0], dtype=self.dtype))
    return tower_layers.layer_norm(self.epsilon, self.dtype, "norm")(x)

  def _check(self, x):
    tower_layers.check_ids(x, self.max_length, "Deberta")
    tower_layers.check_choice("Deberta.activation", self.activation, tower_layers.ACTIVATIONS)
    tower_layers.check_heads("Deberta.width", self.width, self.num_heads)
    for term in self.terms:
      tower_layers.check_choice("Deberta.terms", term, TERMS)


def relative_buckets(distance: np.ndarray, buckets: int, max_distance: int) -> np.ndarray:
  """Rows of the relative embeddings for distances i - j of a query i and a key j.

  With m = buckets / 2: distances up to m have their own bucket, farther ones share
  m + ceil((m - 1) log(|d| / m) / log((max_distance - 1) / m)), with the sign of d [@he2021deberta].

  Args:
    distance: integers of any shape.
    buckets: in either direction; 0: every distance has its own.
    max_distance: which distance the last bucket is for.

  Returns:
    int array of the shape of `distance`, in [0, 2 * (buckets or max_distance)).
  """
  span = buckets or max_distance
  if buckets:
    middle, far = buckets // 2, np.abs(distance)
    # In float32 as published: a rounding here decides between two buckets.
    ratio = np.float32(np.maximum(far, middle)) / np.float32(middle)
    steps = np.log(ratio) / np.log(np.float32((max_distance - 1) / middle)) * np.float32(middle - 1)
    logarithmic = (np.ceil(steps) + middle).astype(int) * np.sign(distance)
    distance = np.where(far <= middle, distance, logarithmic)
  return np.clip(distance + span, 0, 2 * span - 1)


def shift_rows(by_distance: jax.Array) -> jax.Array:
  """Turns products by distance into products by position: result[..., i, j] = x[..., i, j - i + L - 1].

  By slices and reshapes alone, so that nothing is gathered, and nothing scattered in the backward pass.

  Args:
    by_distance: [..., L, 2 L].

  Returns:
    [..., L, L].
  """
  *leading, length, _ = by_distance.shape
  flat = by_distance.reshape(*leading, 2 * length * length)
  # Entry (i, j) lies at 2 L i + L - 1 + j - i = (L - 1) + (2 L - 1) i + j.
  flat = flat[..., length - 1 : length - 1 + length * (2 * length - 1)]
  return flat.reshape(*leading, length, 2 * length - 1)[..., :length]


class _Layer(nn.Module):
  """One post-norm layer, [batch, length, width] to the same."""

  num_heads: int
  hidden: int
  activation: str
  dropout: float
  attention_dropout: float
  epsilon: float
  terms: tuple[str, ...]
  share_keys: bool
  buckets: int
  max_distance: int
  attention: str | None
  dtype: Any = None

  @nn.compact
  def __call__(
    self, x: jax.Array, relative: jax.Array, valid: jax.Array | None, train: bool
  ) -> jax.Array:
    norm1, norm2 = (tower_layers.layer_norm(self.epsilon, self.dtype, f"norm{i}") for i in (1, 2))
    drop = Dropout(self.dropout)
    mixed = self._attend(x, drop(relative, train=train), valid, train)
    mixed = tower_layers.dense(x.shape[-1], self.dtype, "attention_out")(mixed)
    x = norm1(x + drop(mixed, train=train))
    fields = (self.hidden, self.activation, self.dtype)
    y = tower_layers.FeedForward(*fields, name="feed_forward")(x)
    return norm2(x + drop(y, train=train))

  def _attend(self, x, relative, valid, train):
    """Disentangled attention of the tokens, [batch, length, width]."""
    width, length = x.shape[-1], x.shape[1]

    def heads(y):
      return y.reshape(*y.shape[:-1], self.num_heads, -1)

    project = {
      part: tower_layers.dense(width, self.dtype, part) for part in ("query", "key", "value")
    }
    query, key, value = (heads(project[part](x)) for part in ("query", "key", "value"))
    # The published root is a float32 number, also where the rest is float64.
    scale = 1 / float(np.sqrt(np.float32(query.shape[-1] * (1 + len(self.terms)))))
    distance = np.arange(1 - length, length + 1)  # the last one fills up the rows of `shift_rows`
    bias = None
    for term in self.terms:
      # The relative embeddings at every distance that occurs, not a product for every bucket, of which
      # the entries are then sought.
      content, part, sign = (query, "key", -1) if term == "c2p" else (key, "query", 1)
      rows = relative[relative_buckets(sign * distance, self.buckets, self.max_distance)]
      layer = (
        project[part]
        if self.share_keys
        else tower_layers.dense(width, self.dtype, f"relative_{part}")
      )
      wide = jnp.promote_types(content.dtype, jnp.float32)
      spec = "blhd,rhd->bhlr"
      products = jnp.einsum(spec, content * scale, heads(layer(rows)), preferred_element_type=wide)
      found = shift_rows(products)
      found = found if term == "c2p" else found.swapaxes(-1, -2)
      bias = found if bias is None else bias + found
    return tower_layers.attend(
      query,
      key,
      value,
      valid=valid,
      bias=bias,
      scale=scale,
      dropout=tower_layers.active(self.attention_dropout, train),
      implementation=self.attention,
    )
