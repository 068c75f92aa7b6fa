"""The toy that the published numbers of tests/golden/synib_baselines.npz were measured on."""

import jax
import jax.numpy as jnp

from tests.golden.recipe import recipe


def network(params, arrays, case):
  """The published toy: logits of both branches and of both together."""
  weight = lambda name: (params[f"{name}.weight"].T, params[f"{name}.bias"])  # noqa: E731
  linear = lambda x, name: x @ weight(name)[0] + weight(name)[1]  # noqa: E731
  z = [jnp.tanh(linear(jnp.asarray(arrays[f"{case}/x{i}"]), f"enc_{i}")) for i in range(2)]
  alone = [linear(z[i], f"fc_{i}") for i in range(2)]
  return alone, linear(jnp.concatenate(z, 1), "head")


def cross_entropy(logits, labels):
  return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], 1)


def weights_of(meta, case):
  shapes = {n: tuple(s) for n, s in meta[case]["recipe_shapes"].items()}
  return {n: jnp.asarray(w) for n, w in recipe(shapes, meta[case]["recipe_seed"]).items()}
