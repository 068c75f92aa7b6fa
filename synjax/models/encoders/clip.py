"""CLIP's two transformers: of images and of text."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from synjax.models import tower_layers
from synjax.models.layers import check_layout, space_to_depth

_OUTPUTS = ("tokens", "raw_tokens", "pooled", "embedding")


class ClipVision(nn.Module):
  """CLIP's vision transformer ([@radford2021clip]; docs/spec/infmasking.md 1.5).

  Patches x_p W (+ b), a class token before them, plus positions; LN; `num_layers` pre-norm layers
  x <- x + Attention(LN x), x <- x + W2 act(W1 LN x + b1) + b2; LN. `patch_size` is 16 in ViT-B/16.
  OpenAI's own activation is QuickGELU, timm's `vit_base_patch*_clip_224` the exact GELU.

  Attributes:
    width: width of the tokens, a multiple of `num_heads`.
    num_layers: layers.
    num_heads: attention heads.
    hidden: width of the feed-forward hidden layer.
    image_size: side of the square images, pixels.
    patch_size: side of a patch, pixels; divides `image_size`.
    activation: see `tower_layers.ACTIVATIONS`.
    epsilon: of the norms.
    patch_bias: whether patches have a bias.
    projection: width of the embedding.
    projection_bias: whether the projection has a bias.
    output: "tokens", all after the last norm; "raw_tokens", before it; "pooled", the class token after
      it; "embedding", that token projected.
    attention: implementation of `jax.nn.dot_product_attention`: None, "xla" or "cudnn".
    remat: recompute a layer's activations in the backward pass.
    dtype: computation type.
  """

  width: int = 768
  num_layers: int = 12
  num_heads: int = 12
  hidden: int = 3072
  image_size: int = 224
  patch_size: int = 32
  activation: str = "quick_gelu"
  epsilon: float = 1e-5
  patch_bias: bool = False
  projection: int = 512
  projection_bias: bool = False
  output: Literal["tokens", "raw_tokens", "pooled", "embedding"] = "tokens"
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
    """Encodes images.

    Args:
      x: [batch, image_size, image_size, channels], normalised as the weights expect.
      valid: not used: every patch of an image is real.
      train: not used.
      axis: not used.

    Returns:
      [batch, 1 + patches, width], class token first, patches row by row; [batch, width] for the output
      "pooled", [batch, projection] for "embedding".

    Raises:
      ValueError: x is no batch of such images, or a field has a value without meaning.
    """
    del valid, axis
    self._check(x)
    x = space_to_depth(x, self.patch_size).reshape(x.shape[0], -1, self.patch_size**2 * x.shape[-1])
    x = tower_layers.dense(self.width, self.dtype, "patches", use_bias=self.patch_bias)(x)
    first = self.param("class_token", tower_layers.NORMAL, (self.width,))
    shape = (x.shape[1] + 1, self.width)
    positions = self.param("positions", tower_layers.NORMAL, shape)
    x, first, positions = promote_dtype(x, first, positions, dtype=self.dtype)
    first = jnp.broadcast_to(first, (x.shape[0], 1, self.width))
    x = jnp.concatenate([first, x], axis=1) + positions
    x = tower_layers.layer_norm(self.epsilon, self.dtype, "norm_in")(x)
    x = _layers(self, x, None, train)
    if self.output == "raw_tokens":
      return x
    x = x if self.output == "tokens" else x[:, 0]
    x = tower_layers.layer_norm(self.epsilon, self.dtype, "norm_out")(x)
    return _project(self, x, use_bias=self.projection_bias)

  def _check(self, x):
    check_layout(x, "[batch, rows, columns, channels]", "ClipVision")
    _check_fields(self)
    if x.shape[1:3] != (self.image_size, self.image_size):
      size = f"{self.image_size} x {self.image_size}"
      raise ValueError(
        f"ClipVision has positions for images of {size} pixels, found {x.shape[1]} x {x.shape[2]}: "
        f"set config.data.resolution to {self.image_size}, or resize the images"
      )


class ClipText(nn.Module):
  """CLIP's text transformer [@radford2021clip]: a token reads itself and earlier ones.

  Token plus position embeddings, then layers and the last norm of `ClipVision`.

  Attributes:
    width: width of the tokens, a multiple of `num_heads`.
    num_layers: layers.
    num_heads: attention heads.
    hidden: width of the feed-forward hidden layer.
    vocabulary: number of token ids.
    max_length: number of positions.
    end_token: id whose first place holds the embedding of the text; None: the largest id of the text.
    activation: see `tower_layers.ACTIVATIONS`.
    epsilon: of the norms.
    projection: width of the embedding.
    output: as in `ClipVision`; "pooled" is the token at the end token.
    attention: as in `ClipVision`.
    remat: as in `ClipVision`.
    dtype: computation type.
  """

  width: int = 512
  num_layers: int = 12
  num_heads: int = 8
  hidden: int = 2048
  vocabulary: int = 49408
  max_length: int = 77
  end_token: int | None = 49407
  activation: str = "quick_gelu"
  epsilon: float = 1e-5
  projection: int = 512
  output: Literal["tokens", "raw_tokens", "pooled", "embedding"] = "tokens"
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
      train: not used.
      axis: not used.

    Returns:
      [batch, length, width]; padding holds finite values without meaning. [batch, width] for the output
      "pooled", [batch, projection] for "embedding".

    Raises:
      ValueError: x holds no token ids, or too many, or a field has a value without meaning.
    """
    del axis
    tower_layers.check_ids(x, self.max_length, "ClipText")
    _check_fields(self)
    ids = x
    x = tower_layers.embedding(self.vocabulary, self.width, self.dtype, "tokens")(ids)
    shape = (self.max_length, self.width)
    positions = self.param("positions", tower_layers.NORMAL, shape)
    x, positions = promote_dtype(x, positions, dtype=self.dtype)
    x = _layers(self, x + positions[: ids.shape[1]], valid, train, causal=True)
    if self.output == "raw_tokens":
      return x
    if self.output != "tokens":
      last = ids if self.end_token is None else ids == self.end_token
      x = jnp.take_along_axis(x, jnp.argmax(last, axis=1)[:, None, None], axis=1)[:, 0]
    x = tower_layers.layer_norm(self.epsilon, self.dtype, "norm_out")(x)
    return _project(self, x, use_bias=False)


class Clip(nn.Module):
  """Both transformers: images or token ids, whichever is given.

  Attributes:
    vision: of images.
    text: of token ids.
  """

  vision: ClipVision
  text: ClipText

  def __call__(
    self,
    x: jax.Array,
    valid: jax.Array | None = None,
    train: bool = False,
    axis: str | None = None,
  ) -> jax.Array:
    """Encodes x as the tower that takes it: four axes are images, anything else is text."""
    tower = self.vision if x.ndim == 4 else self.text
    return tower(x, valid, train, axis)


class _Layer(nn.Module):
  """One pre-norm layer, [batch, length, width] to the same."""

  num_heads: int
  hidden: int
  activation: str
  epsilon: float
  causal: bool
  attention: str | None
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, valid: jax.Array | None, train: bool) -> jax.Array:
    norm1, norm2 = (tower_layers.layer_norm(self.epsilon, self.dtype, f"norm{i}") for i in (1, 2))
    fields = {"implementation": self.attention, "dtype": self.dtype, "name": "attention"}
    attention = tower_layers.SelfAttention(self.num_heads, self.causal, **fields)
    x = x + attention(norm1(x), valid=valid, train=train)
    fields = (self.hidden, self.activation, self.dtype)
    return x + tower_layers.FeedForward(*fields, name="feed_forward")(norm2(x))


def _layers(
  tower: ClipVision | ClipText,
  x: jax.Array,
  valid: jax.Array | None,
  train: bool,
  causal: bool = False,
) -> jax.Array:
  """Runs the layers of a tower."""
  layer = nn.remat(_Layer, static_argnums=(3,)) if tower.remat else _Layer
  fields = (tower.num_heads, tower.hidden, tower.activation, tower.epsilon, causal)
  for i in range(tower.num_layers):
    x = layer(*fields, tower.attention, tower.dtype, name=f"layer_{i}")(x, valid, train)
  return x


def _project(tower: ClipVision | ClipText, x: jax.Array, *, use_bias: bool) -> jax.Array:
  """Projects the pooled token where that is the tower's output."""
  if tower.output != "embedding":
    return x
  fields = (tower.projection, tower.dtype, "projection")
  return tower_layers.dense(*fields, use_bias=use_bias)(x)


def _check_fields(tower: ClipVision | ClipText) -> None:
  where = type(tower).__name__
  tower_layers.check_choice(f"{where}.output", tower.output, _OUTPUTS)
  tower_layers.check_choice(f"{where}.activation", tower.activation, tower_layers.ACTIVATIONS)
  tower_layers.check_heads(f"{where}.width", tower.width, tower.num_heads)
