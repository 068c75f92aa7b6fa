"""Fusion trunks of classifiers: features of all modalities in, one feature per example out.

Every supervised method takes the trunk that the config names, so that no method gets a better one than
another. The contract: `__call__(features, *, valid, key_bias, train)` with one array a modality, in
modality order; `reads_tokens` says whether those are tokens [batch, length, width] or vectors
[batch, width].
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.fusion import FusionTransformer
from synjax.models.layers import relu_layers


class AdditiveTrunk(nn.Module):
  """No interaction: with the class head after it, f = sum_m W_m z_m + b (the baselines' late fusion)."""

  dtype: Any = None
  reads_tokens = False

  def __call__(self, features: Sequence[jax.Array], *, train: bool = False, **_) -> jax.Array:
    """Concatenates the vectors, [batch, sum of widths]."""
    del train
    return jnp.concatenate(features, axis=-1)


class MLPTrunk(nn.Module):
  """Perceptron on the concatenated vectors: Dense-ReLU for each width, with dropout.

  The published trunks have dropout between their layers, and one of a single layer has it after that
  one (docs/spec/synib.md 3.2 and 5.2).

  Attributes:
    hidden: widths of the layers.
    dropout: rate after every ReLU but the last; of a single layer after that one.
    dtype: computation type.
  """

  hidden: tuple[int, ...] = (64,)
  dropout: float = 0.0
  dtype: Any = None
  reads_tokens = False

  @nn.compact
  def __call__(self, features: Sequence[jax.Array], *, train: bool = False, **_) -> jax.Array:
    """Maps one [batch, width_m] a modality to [batch, hidden[-1]]."""
    x = jnp.concatenate(features, axis=-1)
    return relu_layers(x, self.hidden, self.dropout, dtype=self.dtype, train=train)


class TransformerTrunk(nn.Module):
  """The fusion transformer of the contrastive methods, on the full set of tokens.

  Attributes:
    fusion: `FusionTransformer`.
  """

  fusion: FusionTransformer
  reads_tokens = True

  def __call__(
    self,
    features: Sequence[jax.Array],
    *,
    valid: jax.Array | None = None,
    key_bias: jax.Array | None = None,
    train: bool = False,
  ) -> jax.Array:
    """Maps one [batch, length_m, width] a modality to [batch, width]."""
    del train
    subsets, _ = self.fusion(list(features), valid=valid, key_bias=key_bias)
    return subsets[-1]
