"""DistilBERT, the text tower of the multilingual sentence-CLIP."""

from typing import Any, Literal

import jax
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from synjax.models import tower_layers
from synjax.models.layers import Dropout


class DistilBert(nn.Module):
  """DistilBERT [@sanh2019distilbert], text encoder of MM-IMDb (docs/spec/infmasking.md 1.5).

  LN(token + position embeddings), then `num_layers` post-norm layers x <- LN(x + Attention(x)),
  x <- LN(x + Drop(W2 act(W1 x + b1) + b2)).

  Attributes:
    width: width of the tokens, a multiple of `num_heads`.
    num_layers: layers.
    num_heads: attention heads.
    hidden: width of the feed-forward hidden layer.
    vocabulary: number of token ids.
    max_length: number of positions.
    activation: see `tower_layers.ACTIVATIONS`.
    dropout: rate in training after the embeddings and the feed-forward layers.
    attention_dropout: rate in training of the attention weights.
    epsilon: of the norms.
    attention: implementation of `jax.nn.dot_product_attention`: None, "xla" or "cudnn".
    remat: recompute a layer's activations in the backward pass.
    dtype: computation type.
  """

  width: int = 768
  num_layers: int = 6
  num_heads: int = 12
  hidden: int = 3072
  vocabulary: int = 119547
  max_length: int = 512
  activation: str = "gelu"
  dropout: float = 0.1
  attention_dropout: float = 0.1
  epsilon: float = 1e-12
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
    tower_layers.check_ids(x, self.max_length, "DistilBert")
    names = tower_layers.ACTIVATIONS
    tower_layers.check_choice("DistilBert.activation", self.activation, names)
    tower_layers.check_heads("DistilBert.width", self.width, self.num_heads)
    length = x.shape[1]
    x = tower_layers.embedding(self.vocabulary, self.width, self.dtype, "tokens")(x)
    shape = (self.max_length, self.width)
    positions = self.param("positions", tower_layers.NORMAL, shape)
    x, positions = promote_dtype(x, positions, dtype=self.dtype)
    x = tower_layers.layer_norm(self.epsilon, self.dtype, "norm")(x + positions[:length])
    x = Dropout(self.dropout)(x, train=train)
    layer = nn.remat(_Layer, static_argnums=(3,)) if self.remat else _Layer
    fields = (self.num_heads, self.hidden, self.activation, self.dropout, self.attention_dropout)
    fields += (self.epsilon, self.attention, self.dtype)
    for i in range(self.num_layers):
      x = layer(*fields, name=f"layer_{i}")(x, valid, train)
    return x


class _Layer(nn.Module):
  """One post-norm layer, [batch, length, width] to the same."""

  num_heads: int
  hidden: int
  activation: str
  dropout: float
  attention_dropout: float
  epsilon: float
  attention: str | None
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, valid: jax.Array | None, train: bool) -> jax.Array:
    attention = tower_layers.SelfAttention(
      self.num_heads,
      dropout=self.attention_dropout,
      implementation=self.attention,
      dtype=self.dtype,
      name="attention",
    )
    norm1, norm2 = (tower_layers.layer_norm(self.epsilon, self.dtype, f"norm{i}") for i in (1, 2))
    x = norm1(x + attention(x, valid=valid, train=train))
    fields = (self.hidden, self.activation, self.dtype)
    y = tower_layers.FeedForward(*fields, name="feed_forward")(x)
    return norm2(x + Dropout(self.dropout)(y, train=train))
