"""What every published tower can do: recomputed activations, bfloat16, the attention of a backend."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders import ENCODERS, TOWERS
from tests import drawn

SIZES = {"width": 8, "num_layers": 2, "num_heads": 2, "hidden": 12}
IMAGE, TEXT = {"image_size": 8, "patch_size": 4}, {"vocabulary": 20, "max_length": 7}
IDS = np.array([[3, 9, 4, 19, 0, 0], [7, 1, 2, 9, 5, 19]])
VALID = np.arange(6) < np.array([[4], [6]])
PIXELS = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)


def make(name, **fields):
  """A tower, its variables, and a function of them that gives its real tokens."""
  x, valid, kind = (PIXELS, None, IMAGE) if name == "clip_vision" else (IDS, VALID, TEXT)
  module = ENCODERS[name](**SIZES, **kind, **fields)

  def apply(variables):
    found = module.apply(variables, x, valid=valid)
    return found if valid is None else found * valid[..., None]

  return drawn.variables(module.init, x), apply


@pytest.mark.parametrize(
  "name", [pytest.param(n, marks=() if n == "deberta" else pytest.mark.slow) for n in TOWERS]
)
def test_recomputed_activations_change_no_gradient_and_are_recomputed(name):
  (variables, plain), (_, again) = make(name), make(name, remat=True)

  def gradient(apply):
    return jax.grad(lambda v: jnp.sum(apply(v) ** 3))

  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
    *(jax.jit(gradient(apply))(variables) for apply in (plain, again)),
  )
  programs = [str(jax.make_jaxpr(gradient(apply))(variables)) for apply in (plain, again)]
  assert [program.count("remat") > 0 for program in programs] == [False, True]


@pytest.mark.parametrize("name", TOWERS)
def test_bfloat16_is_float32_to_its_rounding(name):
  (variables, wide), (same, narrow) = make(name), make(name, dtype=jnp.bfloat16)
  assert {leaf.dtype for leaf in jax.tree.leaves(same)} == {jnp.dtype("float32")}
  expected, found = (jax.jit(apply)(variables) for apply in (wide, narrow))
  assert found.dtype == jnp.bfloat16 and expected.dtype == jnp.float32
  difference = np.abs(np.float32(found) - expected)
  assert 0 < difference.mean() < 0.03 * np.abs(expected).mean()


@pytest.mark.parametrize("name", TOWERS)
def test_every_layer_attends_by_the_implementation_that_is_named(name, monkeypatch):
  """cuDNN's needs a GPU: what is asked of `jax.nn.dot_product_attention` is looked at instead."""
  asked, attend = [], jax.nn.dot_product_attention

  def ask(*arrays, implementation, **fields):
    asked.append(implementation)
    return attend(*arrays, **fields)

  monkeypatch.setattr(jax.nn, "dot_product_attention", ask)
  for field in (None, "xla", "cudnn"):
    variables, apply = make(name, attention=field)
    del asked[:]
    jax.eval_shape(apply, variables)
    assert asked == [field] * SIZES["num_layers"]
