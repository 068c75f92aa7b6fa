"""Heads: from the embedding of a subset of modalities to the space of the contrastive losses."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from synjax.models.layers import BatchNorm, Dense

# What FactorCL's projections are for: information that modalities share and (bounded from above) do not,
# what a modality shares with its own view or the label, and the first two given that view or label.
FACTORS = ("shared", "excess", "own", "conditional_shared", "conditional_excess")


class ProjectionHead(nn.Module):
  """Three-layer projection head: Dense-BN-ReLU-Dense-BN-ReLU-Dense.

  One head serves every subset, view and masked view. Each of them is a separate call with its own
  batch statistics (docs/spec/infmasking.md 4); here the calls are a leading axis, so that each
  dense layer is a single matrix product over all calls. The running statistics follow the order of
  that axis: the published order is view 1's subsets, view 2's subsets, then masked views.
  The output is not normalised: the losses do that.

  Difference from the published code: it also sends the masked views of single modalities through
  the head and discards them, which moves the running statistics; those are used by no loss.

  Attributes:
    hidden: width of both hidden layers (512 for InfMasking and CoMM, 1024 for the baselines).
    features: output width (256).
    dtype: computation type; batch statistics are float32 or wider.
  """

  hidden: int = 512
  features: int = 256
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    train: bool = False,
    axis: str | None = None,
    valid: jax.Array | None = None,
  ) -> jax.Array:
    """Projects the embeddings of all calls.

    Args:
      x: [calls, batch, width], or [batch, width] for one call.
      train: use batch statistics and update the running ones.
      axis: device axis over which the batch is shared out, or None.
      valid: bool[calls, batch], False = left out of the statistics of its call: the example lacks what
        was embedded; None: every example counts.

    Returns:
      [calls, batch, features], or [batch, features].
    """
    for layer in (1, 2):
      x = Dense(self.hidden, dtype=self.dtype, name=f"layer{layer}")(x)
      x = BatchNorm(dtype=self.dtype, name=f"bn{layer}")(x, train=train, axis=axis, valid=valid)
      x = nn.relu(x)
    return Dense(self.features, dtype=self.dtype, name="layer3")(x)


class LinearHead(nn.Module):
  """One linear map without bias, N(0, 1 / width) at the start, as CLIP projects (arXiv 2103.00020).

  Attributes:
    features: output width.
    dtype: computation type.
  """

  features: int = 256
  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    train: bool = False,
    axis: str | None = None,
    valid: jax.Array | None = None,
  ) -> jax.Array:
    """Projects [..., width] to [..., features]; others are arguments of `ProjectionHead`."""
    del train, axis, valid
    init = nn.initializers.variance_scaling(1.0, "fan_in", "normal")
    return nn.Dense(
      self.features, use_bias=False, kernel_init=init, dtype=self.dtype, name="layer"
    )(x)


class FactorHead(nn.Module):
  """FactorCL's five projections of a modality, each Dense-ReLU-Dense of the vector's own width.

  Source: FactorCL (arXiv 2306.05268), docs/spec/baselines.md 3.7. Parameters `<factor>_layer1` and
  `<factor>_layer2`, <factor> one of `FACTORS`.

  Attributes:
    dtype: computation type.
  """

  dtype: Any = None

  @nn.compact
  def __call__(
    self,
    x: jax.Array,
    *,
    train: bool = False,
    axis: str | None = None,
    valid: jax.Array | None = None,
  ) -> jax.Array:
    """Projects [..., width] to [..., 5 * width]; others are arguments of `ProjectionHead`."""
    del train, axis, valid
    found = []
    for factor in FACTORS:
      hidden = nn.relu(Dense(x.shape[-1], dtype=self.dtype, name=f"{factor}_layer1")(x))
      found.append(Dense(x.shape[-1], dtype=self.dtype, name=f"{factor}_layer2")(hidden))
    return jnp.concatenate(found, axis=-1)
