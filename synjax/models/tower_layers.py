"""What the pretrained transformers are built from: attention, feed-forward layers, norms.

Parameters start as the published models do, from N(0, 0.02^2) with biases 0.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from synjax.models.layers import Dropout

# Logit of a key that is not read. Finite: a softmax over such keys alone must not be NaN.
_UNREAD_LOGIT = -1e30

NORMAL = nn.initializers.normal(0.02)

# Names in the `config.json` of the published models.
ACTIVATIONS = {
  "gelu": lambda u: nn.gelu(u, approximate=False),
  "gelu_new": nn.gelu,
  "gelu_pytorch_tanh": nn.gelu,
  "quick_gelu": lambda u: u * nn.sigmoid(1.702 * u),
  "relu": nn.relu,
}


def check_choice(where: str, found: str, known: Mapping[str, Any] | tuple[str, ...]) -> None:
  """Checks a field that has names for values; ValueError for another name."""
  if found not in known:
    raise ValueError(f"{where}: expected one of {sorted(known)}, found {found!r}")


def check_heads(where: str, width: int, num_heads: int) -> None:
  """Checks that heads share out the width; ValueError if they do not."""
  if width % num_heads:
    raise ValueError(f"{where}: expected a multiple of num_heads = {num_heads}, found {width}")


def check_ids(ids: jax.Array, max_length: int, where: str) -> None:
  """Checks token ids int[batch, length] of at most `max_length`; ValueError on anything else."""
  if ids.ndim != 2 or not jnp.issubdtype(ids.dtype, jnp.integer):
    raise ValueError(
      f"{where} expects an input of token ids, integers [batch, length], found "
      f"{ids.dtype}{list(ids.shape)}: give it a text modality, tokenised"
    )
  if ids.shape[1] > max_length:
    raise ValueError(
      f"{where} has positions for {max_length} tokens, found {ids.shape[1]}: set config.data.max_length"
      f" to at most {max_length}, or truncate the text"
    )


def layer_norm(epsilon: float, dtype: Any, name: str) -> nn.LayerNorm:
  """LayerNorm with the two-pass variance: the fast one cancels where a token's mean is large."""
  return nn.LayerNorm(epsilon, dtype=dtype, use_fast_variance=False, name=name)


def dense(features: int, dtype: Any, name: str | None = None, *, use_bias: bool = True) -> nn.Dense:
  """Linear layer of a published transformer."""
  return nn.Dense(features, use_bias, dtype=dtype, kernel_init=NORMAL, name=name)


def embedding(count: int, width: int, dtype: Any, name: str) -> nn.Embed:
  """Table of `count` vectors; an id outside of it gives NaN."""
  return nn.Embed(count, width, dtype=dtype, embedding_init=NORMAL, name=name)


def attend(
  query: jax.Array,
  key: jax.Array,
  value: jax.Array,
  *,
  valid: jax.Array | None = None,
  bias: jax.Array | None = None,
  causal: bool = False,
  scale: float | None = None,
  dropout: nn.Module | None = None,
  implementation: str | None = None,
) -> jax.Array:
  """Multi-head attention softmax(scale q k^T + bias) v, softmax in at least float32.

  `jax.nn.dot_product_attention` where it does that: it knows no dropout, and its softmax is float32 for
  float64 inputs.

  Args:
    query: [batch, length, heads, width].
    key: as query.
    value: as query.
    valid: bool[batch, length], False = a key that no query reads; None: all are read. Without any that
      is read the output is finite and has no meaning.
    bias: [batch, heads, length, length] of (query, key), added to the logits.
    causal: a query reads no later key.
    scale: of the products; None: 1 / sqrt(width).
    dropout: for the weights, called with them; None: no dropout.
    implementation: of `jax.nn.dot_product_attention`: None, "xla" or "cudnn".

  Returns:
    [batch, length, heads * width].
  """
  scale = query.shape[-1] ** -0.5 if scale is None else scale
  read = None if valid is None else valid[:, None, None, :]
  if dropout is None and query.dtype != jnp.float64:
    mixed = jax.nn.dot_product_attention(
      query,
      key,
      value,
      bias=None if bias is None else bias.astype(query.dtype),
      mask=read,
      scale=scale,
      is_causal=causal,
      implementation=implementation,
    )
  else:
    wide = jnp.promote_types(key.dtype, jnp.float32)
    logits = jnp.einsum("bqhd,bkhd->bhqk", query * scale, key, preferred_element_type=wide)
    if bias is not None:
      logits = logits + bias
    if causal:
      order = jnp.arange(query.shape[1])
      earlier = order[:, None] >= order
      read = earlier if read is None else read & earlier
    if read is not None:
      logits = jnp.where(read, logits, _UNREAD_LOGIT)
    weights = jax.nn.softmax(logits).astype(value.dtype)
    if dropout is not None:
      weights = dropout(weights, train=True)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value)
  return mixed.reshape(*mixed.shape[:2], -1)


def active(dropout: float, train: bool) -> Dropout | None:
  """Dropout layer of a rate in training, None where it would change nothing."""
  return Dropout(dropout) if train and dropout else None


class SelfAttention(nn.Module):
  """Multi-head self-attention, parameters `query_key_value` (packed) and `out`.

  Attributes:
    num_heads: attention heads.
    causal: a token reads no later one.
    dropout: rate in training of the attention weights.
    implementation: see `attend`.
    dtype: computation type.
  """

  num_heads: int
  causal: bool = False
  dropout: float = 0.0
  implementation: str | None = None
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, *, valid: jax.Array | None, train: bool) -> jax.Array:
    """Maps [batch, length, width], of which `valid` bool[batch, length] is read, to the same."""
    width = x.shape[-1]
    packed = dense(3 * width, self.dtype, "query_key_value")(x)
    packed = packed.reshape(*x.shape[:2], 3, self.num_heads, width // self.num_heads)
    mixed = attend(
      *(packed[:, :, part] for part in range(3)),
      valid=valid,
      causal=self.causal,
      dropout=active(self.dropout, train),
      implementation=self.implementation,
    )
    return dense(width, self.dtype, "out")(mixed)


class FeedForward(nn.Module):
  """Two linear layers around an activation, parameters `expand` and `contract`.

  Attributes:
    hidden: width between them.
    activation: a name of `ACTIVATIONS`.
    dtype: computation type.
  """

  hidden: int
  activation: str
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array) -> jax.Array:
    """Maps [..., width] to the same."""
    u = ACTIVATIONS[self.activation](dense(self.hidden, self.dtype, "expand")(x))
    return dense(x.shape[-1], self.dtype, "contract")(u)
