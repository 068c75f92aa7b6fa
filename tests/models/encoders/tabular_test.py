import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders.tabular import MLP
from tests import torch_weights
from tests.golden.recipe import recipe


def test_matches_published_encoder(x64, golden):
  arrays, meta = golden("encoders")
  meta = meta["mimic_mlp"]
  names = torch_weights.mlp("", ())
  state = recipe(meta["recipe_shapes"], meta["recipe_seed"])
  params = torch_weights.variables(state, names)["params"]
  x, expected = arrays["mimic_mlp/x"], arrays["mimic_mlp/out"]
  np.testing.assert_allclose(MLP().apply({"params": params}, x), expected, rtol=1e-9)

  cotangent = np.random.RandomState(meta["recipe_seed"] + 1000).standard_normal(expected.shape)

  def loss(params, x):
    return jnp.sum(MLP().apply({"params": params}, x) * cotangent)

  grads, gx = jax.jit(jax.grad(loss, (0, 1)))(params, x)
  np.testing.assert_allclose(gx, arrays["mimic_mlp/gx"], rtol=1e-7)
  torch_weights.assert_gradient_norms(grads, arrays, "mimic_mlp", names, rtol=1e-7)


def test_parameters_have_the_published_shapes():
  names = torch_weights.mlp("encoder.encoders.0", ())
  params = jax.eval_shape(MLP().init, jax.random.key(0), jnp.zeros((2, 5)))["params"]
  published = torch_weights.zeros("mimic", names)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, published)


def test_other_ranks_are_refused():
  with pytest.raises(ValueError, match=r"MLP expects an input \[batch, features\]"):
    MLP().init(jax.random.key(0), jnp.zeros((2, 3, 5)))
