"""Trunks: NumPy in float64, and the fusion by its literal definition."""

import jax
import numpy as np
import pytest

from synjax.models.fusion import FusionTransformer
from synjax.models.trunks import AdditiveTrunk, MLPTrunk, TransformerTrunk
from tests import compiled, drawn

RNG = np.random.default_rng(0)
VECTORS = [RNG.normal(size=(4, width)) for width in (3, 2)]
TOKENS = [RNG.normal(size=(4, length, 8)) for length in (3, 5)]


def relu_layer(x, layer):
  return np.maximum(x @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]), 0)


def test_the_additive_trunk_lays_the_vectors_side_by_side():
  found = AdditiveTrunk().apply({}, VECTORS, train=True)
  np.testing.assert_array_equal(found, np.concatenate(VECTORS, axis=1).astype(np.float32))
  assert not AdditiveTrunk.reads_tokens


@pytest.mark.parametrize("hidden", [(6,), (6, 4)])
def test_the_perceptron_is_dense_and_relu_for_each_width(hidden, x64):
  trunk = MLPTrunk(hidden, dropout=0.5)
  params = drawn.variables(trunk.init, VECTORS)["params"]
  assert list(params) == [f"layer{i + 1}" for i in range(len(hidden))]
  expected = np.concatenate(VECTORS, axis=1)
  for layer in params.values():
    expected = relu_layer(expected, layer)
  np.testing.assert_allclose(
    compiled.apply(trunk, {"params": params}, VECTORS), expected, rtol=1e-6
  )


def test_dropout_is_between_the_layers_and_of_a_single_one_after_it():
  one, two = (MLPTrunk(hidden, dropout=0.5) for hidden in ((40,), (40, 40)))
  for trunk in (one, two):
    variables = drawn.variables(trunk.init, VECTORS)
    plain = np.asarray(compiled.apply(trunk, variables, VECTORS))
    rngs = {"dropout": jax.random.key(1)}
    dropped = np.asarray(compiled.apply(trunk, variables, VECTORS, train=True, rngs=rngs))
    doubled = np.isclose(dropped, 2 * plain, rtol=1e-5)
    assert ((dropped == 0) | doubled).all() == (trunk is one)
    assert not np.allclose(dropped, plain)


def test_the_transformer_trunk_is_the_literal_fusion_of_all_tokens_that_are_there(x64):
  sizes = {"width": 8, "num_heads": 2, "num_layers": 1}
  trunk = TransformerTrunk(FusionTransformer(**sizes))
  literal = FusionTransformer(**sizes, implementation="dense")
  valid = np.array([[True] * 8, [True] * 5 + [False] * 3, [True] * 8, [False] * 3 + [True] * 5])
  variables = drawn.variables(trunk.init, TOKENS)
  own = {"params": variables["params"]["fusion"]}
  found = compiled.apply(trunk, variables, TOKENS, valid=valid)
  np.testing.assert_allclose(
    found, compiled.apply(literal, own, TOKENS, valid=valid)[0][-1], rtol=1e-6
  )
  # A token that no query attends to is as one that is not there.
  bias = np.where(valid, 0.0, -1e9)
  np.testing.assert_allclose(
    compiled.apply(trunk, variables, TOKENS, key_bias=bias), found, rtol=1e-6
  )
  assert not np.allclose(compiled.apply(trunk, variables, TOKENS)[1], found[1], rtol=1e-3)
