"""A critic's scores of all pairs, against an MLP on every concatenated pair, and what they cost."""

import jax
import jax.numpy as jnp
import numpy as np

from synjax.models.critic import Critic
from tests import compiled, drawn


def concatenated(params, x, y):
  """The same MLP on the concatenation of every pair."""
  pairs = [jnp.broadcast_to(side, (len(y), len(x), side.shape[-1])) for side in (x, y[:, None])]
  pairs = jnp.concatenate(pairs, axis=-1)
  first = jnp.concatenate([params["layer1_x"]["kernel"], params["layer1_y"]["kernel"]])
  hidden = jax.nn.relu(pairs @ first + params["layer1_y"]["bias"])
  hidden = jax.nn.relu(hidden @ params["layer2"]["kernel"] + params["layer2"]["bias"])
  return (hidden @ params["layer3"]["kernel"] + params["layer3"]["bias"])[..., 0]


def test_pairs_are_scored_as_if_they_were_concatenated(x64):
  x, y = jax.random.normal(jax.random.key(0), (5, 3)), jax.random.normal(jax.random.key(1), (5, 4))
  critic = Critic(7)
  params = drawn.variables(critic.init, x, y)["params"]
  found = compiled.apply(critic, {"params": params}, x, y)
  assert found.shape == (5, 5)
  np.testing.assert_allclose(found, concatenated(params, x, y), rtol=1e-6, atol=1e-8)
  one = compiled.apply(critic, {"params": params}, x[3:4], y[1:2])
  np.testing.assert_allclose(found[1, 3], one[0, 0], rtol=1e-6)  # M[i, j] = T(x_j, y_i)


def test_a_first_layer_starts_as_one_on_the_concatenation_would():
  critic = Critic(64)
  params = compiled.init(critic, jax.random.key(0), jnp.zeros((2, 3)), jnp.zeros((2, 6)))["params"]
  for name in ("layer1_x", "layer1_y"):
    kernel = np.abs(params[name]["kernel"])
    assert 0.9 / 3 < kernel.max() <= 1 / 3  # 1 / sqrt(3 + 6)
