import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.heads import ProjectionHead
from tests import torch_weights

HEAD = ProjectionHead(hidden=20, features=8)


@pytest.fixture
def published(golden):
  """Golden arrays, map of names, and our variables before the first call."""
  arrays, _ = golden("head")
  names = torch_weights.projection_head("", ())
  state = torch_weights.read_prefix(arrays, "train_call1/sd_before/")
  return arrays, names, torch_weights.variables(state, names)


def _assert_trees_close(actual, expected, rtol, atol=0.0):
  close = functools.partial(np.testing.assert_allclose, rtol=rtol, atol=atol)
  jax.tree.map(close, actual, expected)


def _statistics_after(arrays, case, names):
  state = torch_weights.read_prefix(arrays, f"{case}/sd_after/")
  return torch_weights.variables(state, torch_weights.only(names, "batch_stats"))


def test_matches_published_head_over_two_training_calls_and_evaluation(x64, published):
  arrays, names, variables = published
  for case in ("train_call1", "train_call2"):
    y, state = HEAD.apply(variables, arrays[f"{case}/x"], train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(y, arrays[f"{case}/out"], rtol=1e-9)
    _assert_trees_close(state, _statistics_after(arrays, case, names), rtol=1e-9)
    variables = {**variables, **state}
  y = HEAD.apply(variables, arrays["eval/x"], train=False)
  np.testing.assert_allclose(y, arrays["eval/out"], rtol=1e-9)


def test_stacked_calls_equal_the_published_sequence_of_calls(x64, published):
  arrays, names, variables = published
  x = np.stack([arrays["train_call1/x"], arrays["train_call2/x"]])
  y, state = HEAD.apply(variables, x, train=True, mutable=["batch_stats"])
  expected = np.stack([arrays["train_call1/out"], arrays["train_call2/out"]])
  np.testing.assert_allclose(y, expected, rtol=1e-9)
  _assert_trees_close(state, _statistics_after(arrays, "train_call2", names), rtol=1e-9)


def test_gradients_match_published_head(x64, published):
  arrays, names, variables = published

  def loss(params, x):
    y, _ = HEAD.apply({**variables, "params": params}, x, train=True, mutable=["batch_stats"])
    return jnp.sum(y * arrays["train_call1/cot"])

  grads, gx = jax.jit(jax.grad(loss, (0, 1)))(variables["params"], arrays["train_call1/x"])
  state = torch_weights.read_prefix(arrays, "train_call1/gsd/")
  expected = torch_weights.variables(state, torch_weights.only(names, "params"))["params"]
  # BatchNorm cancels a bias before it: those gradients are zero up to rounding.
  _assert_trees_close(grads, expected, rtol=1e-7, atol=1e-13)
  np.testing.assert_allclose(gx, arrays["train_call1/gx"], rtol=1e-7, atol=1e-13)


def test_synchronised_head_equals_the_global_batch(x64, published):
  arrays, _, variables = published
  x = np.stack([arrays["train_call1/x"], arrays["train_call2/x"]])[:, :8]

  def project(x, axis):
    return HEAD.apply(variables, x, train=True, axis=axis, mutable=["batch_stats"])

  expected, state = project(x, None)
  shares = np.stack(np.split(x, 4, axis=1))
  y, mapped_state = jax.pmap(lambda x: project(x, "data"), axis_name="data")(shares)
  np.testing.assert_allclose(np.concatenate(y, axis=1), expected, rtol=1e-9)
  _assert_trees_close(jax.tree.map(lambda leaf: leaf[1], mapped_state), state, rtol=1e-9)


def test_all_calls_share_one_product_per_layer():
  x = jnp.zeros((7, 4, 12))
  variables = HEAD.init(jax.random.key(0), x)
  apply = functools.partial(HEAD.apply, train=True, mutable=["batch_stats"])
  jaxpr = str(jax.make_jaxpr(apply)(variables, x))
  assert jaxpr.count("dot_general[") == 3


def test_parameters_have_the_published_shapes():
  params = jax.eval_shape(ProjectionHead().init, jax.random.key(0), jnp.zeros((2, 512)))["params"]
  names = torch_weights.only(torch_weights.projection_head("head", ()), "params")
  published = torch_weights.zeros("trifeatures", names)
  assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, published)
  assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 658_688  # docs/spec/infmasking.md 4
