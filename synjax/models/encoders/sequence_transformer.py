"""MultiBench's transformer encoder of sequences (MOSI, MOSEI, UR-FUNNY, MUStARD)."""

import functools
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.adapters import sincos_table_1d
from synjax.models.layers import Dense, Dropout, check_layout

# Logit of a key that is padding. Finite: a softmax over padding alone must not be NaN.
_PADDING_LOGIT = -1e30
_CHOICES = {
  "norm": ("pre", "post"),
  "positions": ("none", "sincos"),
  "padding": ("ignored", "attended"),
  "initialization": ("independent", "identical"),
}


class SequenceTransformer(nn.Module):
  """Transformer encoder of MultiBench (docs/spec/infmasking.md 1.2, docs/spec/synib.md 5.2).

  x <- x W (no bias), plus the position code; then `num_layers` times, with `norm="pre"`,
  x <- x + Drop(Attention(LN x)); x <- x + Drop(W2 Drop(ReLU(W1 LN x + b1)) + b2), or with
  `norm="post"` x <- LN(x + ...) in both places. There is no final norm. Attention is multi-head
  self-attention with scale 1 / sqrt(width / num_heads) and dropout on its weights.

  Initialisation of PyTorch's layers: U(+-sqrt(6 / (4 width))) for the packed query, key and value
  kernel, attention biases 0, U(+-1/sqrt(fan_in)) for the rest.

  Differences from the published code, whose behaviour the fields marked "published" keep: padding
  is not attended to; layers start from different draws (published: five copies of one layer, as
  its container copies it); the last step is the last VALID one; sine-cosine positions are not
  limited to 50 steps.

  Attributes:
    width: width of the sequence that comes out, a multiple of `num_heads`.
    num_heads: attention heads.
    num_layers: layers.
    hidden: width of the feed-forward hidden layer.
    dropout: rate in training of the four dropouts of a layer.
    norm: "pre" (InfMasking, CoMM) or "post" (FactorCL, SynIB).
    positions: "none" (every published configuration) or "sincos", a fixed table added once.
    padding: "ignored" uses `valid`; "attended" (published) does not: padding is read like data,
      and features depend on how far a batch is padded.
    initialization: "independent" or "identical" (published): all layers start as the first.
    return_sequence: return every step (InfMasking, CoMM) instead of the last one (SynIB).
    dtype: computation type; softmax and layer statistics are in at least float32.
  """

  width: int
  num_heads: int = 5
  num_layers: int = 5
  hidden: int = 2048
  dropout: float = 0.1
  norm: Literal["pre", "post"] = "pre"
  positions: Literal["none", "sincos"] = "none"
  padding: Literal["ignored", "attended"] = "ignored"
  initialization: Literal["independent", "identical"] = "independent"
  return_sequence: bool = True
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    valid: jax.Array | None = None,
    train: bool = False,
    axis: str | None = None,
  ) -> jax.Array:
    """Encodes sequences.

    Args:
      x: [batch, length, in].
      valid: bool[batch, length], False = padding; None = all real. Not used with
        `padding="attended"`.
      train: dropout is on and needs the stream "dropout".
      axis: not used.

    Returns:
      [batch, length, width]; steps of padding hold finite values without meaning. Without
      `return_sequence` the last valid step, [batch, width].

    Raises:
      ValueError: if x has not three axes, `width` is not a multiple of `num_heads` (or odd, with
        positions), or a field has an unknown value.
    """
    del axis
    check_layout(x, "[batch, length, features]", "SequenceTransformer")
    self._check_fields()
    if self.padding == "attended":
      valid = None

    x = Dense(self.width, use_bias=False, dtype=self.dtype, name="embed")(x)
    if self.positions == "sincos":
      x = x + jnp.asarray(sincos_table_1d(x.shape[1], self.width), x.dtype)
    for i in range(self.num_layers):
      if self.initialization == "identical" and i and self.is_initializing():
        # A parameter that is there already is not drawn again.
        first = self.get_variable("params", "layer_0")
        self.put_variable("params", f"layer_{i}", jax.tree.map(jnp.copy, first))
      fields = (self.num_heads, self.hidden, self.dropout, self.norm, self.dtype)
      x = _Layer(*fields, name=f"layer_{i}")(x, valid, train)
    return x if self.return_sequence else _last_valid(x, valid)

  def _check_fields(self):
    for field, known in _CHOICES.items():
      if getattr(self, field) not in known:
        raise ValueError(
          f"SequenceTransformer.{field} must be one of {known}, found {getattr(self, field)!r}."
        )
    if self.width % self.num_heads:
      raise ValueError(
        f"SequenceTransformer.width must be a multiple of num_heads = {self.num_heads}, found "
        f"{self.width}: change one of them."
      )


class _Layer(nn.Module):
  """One encoder layer, [batch, length, width] to the same."""

  num_heads: int
  hidden: int
  dropout: float
  norm: str
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, valid: jax.Array | None, train: bool) -> jax.Array:
    drop = functools.partial(Dropout(self.dropout), train=train)
    # The two-pass variance: the fast one cancels where a step's mean is large.
    norm1, norm2 = (
      nn.LayerNorm(1e-5, dtype=self.dtype, use_fast_variance=False, name=f"ln{i}") for i in (1, 2)
    )
    attention = _Attention(self.num_heads, self.dropout, self.dtype, name="attention")
    expand = Dense(self.hidden, dtype=self.dtype, name="expand")
    contract = Dense(x.shape[-1], dtype=self.dtype, name="contract")

    def feed_forward(x):
      return drop(contract(drop(nn.relu(expand(x)))))

    if self.norm == "pre":
      x = x + drop(attention(norm1(x), valid, train))
      return x + feed_forward(norm2(x))
    x = norm1(x + drop(attention(x, valid, train)))
    return norm2(x + feed_forward(x))


class _Attention(nn.Module):
  """Multi-head self-attention in which padding is no key."""

  num_heads: int
  dropout: float
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, valid: jax.Array | None, train: bool) -> jax.Array:
    width = x.shape[-1]
    head_width = width // self.num_heads
    packed = nn.Dense(
      3 * width,
      dtype=self.dtype,
      kernel_init=nn.initializers.xavier_uniform(),  # fan_out of the packed matrix, as published
      name="query_key_value",
    )(x)
    packed = packed.reshape(*x.shape[:2], 3, self.num_heads, head_width)
    query, key, value = (packed[:, :, part] for part in range(3))
    logits = jnp.einsum(
      "bqhd,bkhd->bhqk",
      query / math.sqrt(head_width),
      key,
      preferred_element_type=jnp.promote_types(key.dtype, jnp.float32),
    )
    if valid is not None:
      logits = jnp.where(valid[:, None, None, :], logits, _PADDING_LOGIT)
    weights = jax.nn.softmax(logits).astype(value.dtype)
    weights = Dropout(self.dropout)(weights, train=train)
    mixed = jnp.einsum("bhqk,bkhd->bqhd", weights, value).reshape(*x.shape[:2], width)
    kernel_init = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")  # +-1/sqrt(fan_in)
    return nn.Dense(width, dtype=self.dtype, kernel_init=kernel_init, name="out")(mixed)


def _last_valid(x: jax.Array, valid: jax.Array | None) -> jax.Array:
  """Step [batch, width] at the last True of `valid`; the last step where there is none."""
  if valid is None:
    return x[:, -1]
  index = x.shape[1] - 1 - jnp.argmax(valid[:, ::-1], axis=1)
  return jnp.take_along_axis(x, index[:, None, None], axis=1)[:, 0]
