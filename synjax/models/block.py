"""The pre-norm transformer block of the fusion and of the masked autoencoder.

A set of slots is given with *log counts*, added to the logits of the attention: 0 for a slot that is
there once, log n for one that stands for n, `ABSENT` for one that is not there.
"""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

# Log count of a slot that is not there. Finite, so that a softmax over absent slots alone (a fully
# padded example under mean pooling) has no NaN; beside any other slot its weight is exactly 0.
ABSENT = -1e30


def statistics_dtype(x: jax.Array) -> jnp.dtype:
  """Softmax sums and means are computed in float32, or in float64 for float64 inputs."""
  return jnp.promote_types(x.dtype, jnp.float32)


def layer_norm(dtype: jnp.dtype | None) -> nn.LayerNorm:
  """LayerNorm with the two-pass variance: the fast one cancels where a token's mean is large."""
  return nn.LayerNorm(epsilon=1e-5, dtype=dtype, use_fast_variance=False)


class _Projection(nn.Module):
  """Affine map x W + b whose kernel W other modules may read."""

  in_features: int
  features: int
  kernel_stddev: float
  bias_bound: float = 0.0
  dtype: jnp.dtype | None = None

  def setup(self):
    shape = (self.in_features, self.features)
    kernel_init = nn.initializers.normal(self.kernel_stddev)
    self.kernel = self.param("kernel", kernel_init, shape, jnp.float32)
    bounds = (-self.bias_bound, self.bias_bound)
    self.bias = self.param("bias", jax.random.uniform, shape[1:], jnp.float32, *bounds)

  def __call__(self, x):
    x, kernel, bias = promote_dtype(x, self.kernel, self.bias, dtype=self.dtype)
    return x @ kernel + bias


class _Attention(nn.Module):
  """Multi-head self-attention: of all slots, or of the class token's query alone."""

  width: int
  num_heads: int
  num_layers: int
  dtype: jnp.dtype | None = None

  def setup(self):
    in_stddev, out_stddev = self.width**-0.5, (2 * self.width * self.num_layers) ** -0.5
    self.query_key_value = _Projection(self.width, 3 * self.width, in_stddev, dtype=self.dtype)
    self.out = _Projection(self.width, self.width, out_stddev, dtype=self.dtype)

  def _logits(self, spec, query, key):
    """Scaled products, accumulated and returned in the dtype of statistics."""
    query = query / math.sqrt(self.width // self.num_heads)
    return jnp.einsum(spec, query, key, preferred_element_type=statistics_dtype(key))

  def attend(self, packed, log_count):
    """Mixes values: packed queries, keys, values [..., slots, 3 * width] to [..., slots, width]."""
    packed = packed.reshape(*packed.shape[:-1], 3, self.num_heads, -1)
    query, key, value = (packed[..., part, :, :] for part in range(3))
    logits = self._logits("...qhd,...khd->...hqk", query, key)
    weights = jax.nn.softmax(logits + log_count[..., None, None, :])
    mixed = jnp.einsum("...hqk,...khd->...qhd", weights.astype(value.dtype), value)
    return mixed.reshape(*mixed.shape[:-2], self.width)

  def attend_cls(self, cls, slots, log_count):
    """Mixes values for the class token's query, without projecting every slot to key and value.

    From the class token [..., width] (leading axes may be missing if shared) and all slots
    [..., slots, width] after LayerNorm, and log_count [..., sets, slots], to [..., sets, width].

    * q.(W_k x + b_k) = (W_k^T q).x + a constant that the softmax drops, so the query is folded into
      the key projection: one product per query, not one per slot.
    * The weights of a head sum to 1, so sum_s w_s (W_v x_s + b_v) = W_v sum_s(w_s x_s) + b_v: the
      value projection runs once per slot or once per set, whichever is cheaper.
    """
    num_sets, num_slots = log_count.shape[-2:]
    packed = (self.query_key_value.kernel, self.query_key_value.bias)
    kernel, bias, _ = promote_dtype(*packed, slots, dtype=self.dtype)
    query_kernel, key_kernel, value_kernel = (
      part.reshape(self.width, self.num_heads, -1) for part in jnp.split(kernel, 3, axis=1)
    )
    query_bias, _, value_bias = bias.reshape(3, self.num_heads, -1)

    query = jnp.einsum("...e,ehd->...hd", cls, query_kernel) + query_bias
    folded = jnp.einsum("...hd,ehd->...he", query, key_kernel)
    logits = self._logits("...he,...se->...hs", folded, slots)[..., None, :, :]
    # The softmax takes its maximum per set: a shared one could underflow every slot of a set.
    weights = jax.nn.softmax(logits + log_count[..., None, :]).astype(slots.dtype)

    cost_per_set = num_sets * (self.num_heads * num_slots + self.width)
    if cost_per_set <= num_slots * (self.width + num_sets):
      sums = jnp.einsum("...vhs,...se->...vhe", weights, slots)
      mixed = jnp.einsum("...vhe,ehd->...vhd", sums, value_kernel)
    else:
      values = jnp.einsum("...se,ehd->...shd", slots, value_kernel)
      mixed = jnp.einsum("...vhs,...shd->...vhd", weights, values)
    return (mixed + value_bias).reshape(*mixed.shape[:-2], self.width)


class _Mlp(nn.Module):
  """Two-layer perceptron with hidden size 4 * width and QuickGELU(u) = u * sigmoid(1.702 u)."""

  width: int
  num_layers: int
  dtype: jnp.dtype | None = None

  @nn.compact
  def __call__(self, x):
    width, hidden = self.width, 4 * self.width
    in_stddev, out_stddev = (2 * width) ** -0.5, (2 * width * self.num_layers) ** -0.5
    u = _Projection(width, hidden, in_stddev, width**-0.5, self.dtype, name="expand")(x)
    # Recomputed in the backward pass: one hidden-sized array less to keep, for next to no work.
    u = jax.checkpoint(lambda u: u * nn.sigmoid(1.702 * u))(u)
    return _Projection(hidden, width, out_stddev, hidden**-0.5, self.dtype, name="contract")(u)


class Block(nn.Module):
  """Pre-norm transformer block: x + Attn(LN1 x), then x + MLP(LN2 x)."""

  width: int
  num_heads: int
  num_layers: int
  dtype: jnp.dtype | None = None

  def setup(self):
    """Creates the parameters."""
    self.ln1 = layer_norm(self.dtype)
    self.attention = _Attention(self.width, self.num_heads, self.num_layers, self.dtype)
    self.ln2 = layer_norm(self.dtype)
    self.mlp = _Mlp(self.width, self.num_layers, self.dtype)

  def __call__(self, x: jax.Array, log_count: jax.Array) -> jax.Array:
    """Maps slots [..., slots, width] with log counts [..., slots]."""
    return self.finish(x, self.attention.attend(self.project(x), log_count))

  def project(self, x: jax.Array) -> jax.Array:
    """First half of the block, slot by slot: packed queries, keys and values."""
    return self.attention.query_key_value(self.ln1(x))

  def finish(self, x: jax.Array, mixed: jax.Array) -> jax.Array:
    """Second half of the block, slot by slot, from the mixed values of the slots."""
    x = x + self.attention.out(mixed)
    return x + self.mlp(self.ln2(x))
