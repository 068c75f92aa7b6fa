"""Critics: how well the two sides of a pair go together, for every pair of a batch."""

import functools
from typing import Any

import jax
from flax import linen as nn

from synjax.models.layers import Dense, uniform_fan_in


class Critic(nn.Module):
  """T(x, y) = w_3 ReLU(W_2 ReLU(A x + B y + b_1) + b_2) + b_3 of all pairs: an MLP on [x; y].

  Its first layer is linear in [x; y], so that A x and B y are computed once an example instead of once a
  pair: the same values as of batch^2 concatenated inputs, without their largest product. A is
  `layer1_x/kernel`, B and b_1 are `layer1_y`'s.

  Source: FactorCL (arXiv 2306.05268), docs/spec/baselines.md 3.7.

  Attributes:
    hidden: width of both hidden layers (512).
    dtype: computation type.
  """

  hidden: int = 512
  dtype: Any = None

  @nn.compact
  def __call__(self, x: jax.Array, y: jax.Array) -> jax.Array:
    """Scores every pair.

    Args:
      x: [batch, width].
      y: [batch, other width].

    Returns:
      M [batch, batch] with M[i, j] = T(x_j, y_i).
    """
    # As of one layer on [x; y], whose fan-in is that of both.
    init = uniform_fan_in(x.shape[-1] + y.shape[-1])
    dense = functools.partial(
      nn.Dense, self.hidden, kernel_init=init, bias_init=init, dtype=self.dtype
    )
    of_x = dense(use_bias=False, name="layer1_x")(x)
    of_y = dense(name="layer1_y")(y)
    pairs = nn.relu(of_y[:, None] + of_x)
    pairs = nn.relu(Dense(self.hidden, dtype=self.dtype, name="layer2")(pairs))
    return Dense(1, dtype=self.dtype, name="layer3")(pairs)[..., 0]
