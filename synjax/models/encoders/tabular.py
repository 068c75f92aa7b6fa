"""Encoders of tables: one feature vector per example."""

from typing import Any

import jax
from flax import linen as nn

from synjax.models.layers import Dense, check_layout, relu_layers


class MLP(nn.Module):
  """Two-layer perceptron W2 ReLU(W1 x + b1) + b2, without output activation.

  The encoder of MIMIC's 5 static variables (docs/spec/infmasking.md 1.3), PyTorch's initialisation.

  Attributes:
    hidden: width of the hidden layer.
    features: output width.
    dtype: computation type.
  """

  hidden: int = 10
  features: int = 10
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
    """Maps [batch, in] to [batch, features]; ValueError on other ranks."""
    del valid, train, axis
    check_layout(x, "[batch, features]", "MLP")
    x = nn.relu(Dense(self.hidden, dtype=self.dtype, name="layer1")(x))
    return Dense(self.features, dtype=self.dtype, name="layer2")(x)


class DenseReLU(nn.Module):
  """Stack of x <- ReLU(W x + b) with dropout: SynIB's encoder of synthetic vectors.

  PyTorch's initialisation, which matters for nets this small (docs/spec/synib.md 3.1, 3.2). The
  published encoder of two layers has its dropout between them, that of one layer after it.

  Attributes:
    widths: output width of each layer.
    dropout: rate after every ReLU but the last; of a single layer after that one.
    dtype: computation type.
  """

  widths: tuple[int, ...] = (16,)
  dropout: float = 0.0
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
    """Maps [batch, in] to [batch, widths[-1]]; ValueError on other ranks."""
    del valid, axis
    check_layout(x, "[batch, features]", "DenseReLU")
    return relu_layers(x, self.widths, self.dropout, dtype=self.dtype, train=train)
