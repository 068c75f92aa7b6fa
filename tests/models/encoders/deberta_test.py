import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders.deberta import Deberta, relative_buckets, shift_rows
from tests import drawn

TINY = {"width": 8, "num_layers": 1, "num_heads": 2, "hidden": 12, "vocabulary": 20}
TINY |= {"max_length": 12, "buckets": 4, "max_distance": 12}


def test_near_distances_have_buckets_of_their_own_and_far_ones_share_them():
  distance = np.arange(-511, 512)
  rows = relative_buckets(distance, 256, 512)
  near = np.abs(distance) <= 128
  np.testing.assert_array_equal(rows[near], distance[near] + 256)
  assert rows[0] == 1 and rows[-1] == 511 and (np.diff(rows) >= 0).all()
  np.testing.assert_array_equal(rows - 256, -(rows[::-1] - 256))
  steps = np.bincount(rows[distance >= 128])[384:]  # logarithmic: ever more share a bucket
  assert steps.max() >= 5 and steps[:30].max() <= 2
  np.testing.assert_array_equal(relative_buckets(np.arange(-3, 4), 0, 2), [0, 0, 1, 2, 3, 3, 3])


@pytest.mark.parametrize("length", [1, 2, 5])
def test_rows_are_shifted_by_their_number(length):
  x = np.random.default_rng(0).normal(size=(2, length, 2 * length))
  found = shift_rows(jnp.asarray(x))
  for i in range(length):
    for j in range(length):
      np.testing.assert_array_equal(found[:, i, j], np.float32(x[:, i, j - i + length - 1]))


@pytest.mark.parametrize("terms", [("c2p", "p2c"), ("c2p",), ()])
def test_logits_are_those_of_every_pair(terms):
  """One head by the definition, pair by pair, in NumPy."""
  module = Deberta(**TINY | {"num_heads": 1}, terms=terms, share_keys=False)
  ids = np.array([[3, 9, 4, 1, 0, 7, 7, 2, 5]])
  with jax.enable_x64(True):
    variables = drawn.variables(module.init, ids)
    rng = np.random.default_rng(0)
    variables = jax.tree.map(lambda x: np.float64(x) + rng.normal(size=x.shape), variables)
    found, state = jax.jit(lambda v: module.apply(v, ids, capture_intermediates=True))(variables)
    assert found.shape == (1, 9, 8)
  layer, kept = variables["params"]["layer_0"], state["intermediates"]
  x = np.asarray(kept["norm"]["__call__"][0])[0]
  relative = np.asarray(kept["norm_relative"]["__call__"][0])

  def of(name, rows):
    return rows @ layer[name]["kernel"] + layer[name]["bias"]

  query, key, value = (of(name, x) for name in ("query", "key", "value"))
  logits = query @ key.T
  for i in range(9):
    for j in range(9):
      row = relative[relative_buckets(np.array(i - j), 4, 12)]
      logits[i, j] += query[i] @ of("relative_key", row) if "c2p" in terms else 0
      logits[i, j] += key[j] @ of("relative_query", row) if "p2c" in terms else 0
  weights = np.exp(logits / np.float64(np.sqrt(np.float32(8 * (1 + len(terms))))))
  mixed = weights / weights.sum(1, keepdims=True) @ value
  expected = of("attention_out", mixed)
  actual = kept["layer_0"]["attention_out"]["__call__"][0][0]
  np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


def test_nothing_of_length_by_length_is_gathered_or_scattered():
  """At length 512 tables of products are read by slices: no gather of [.., 512, 512] floats."""
  module = Deberta(**TINY | {"max_length": 512, "max_distance": 512, "buckets": 256})
  ids = jnp.zeros((1, 512), int)
  variables = jax.eval_shape(module.init, jax.random.key(0), ids)
  total = lambda v: jnp.sum(module.apply(v, ids))  # noqa: E731
  text = str(jax.make_jaxpr(jax.grad(total))(variables))
  lines = [line for line in text.splitlines() if " gather[" in line or " scatter" in line]
  assert lines and not [line for line in lines if "512,512]" in line]


def test_padding_is_not_read_and_its_gradients_are_finite():
  module = Deberta(**TINY)
  ids = np.array([[3, 9, 4, 1, 0, 0], [0, 0, 0, 0, 0, 0]])
  valid = np.arange(6) < np.array([[4], [0]])
  variables = drawn.variables(module.init, ids)
  apply = jax.jit(module.apply)
  found = apply(variables, ids, valid)
  np.testing.assert_allclose(apply(variables, ids[:1, :4])[0], found[0, :4], atol=1e-5)
  gradient = jax.jit(jax.grad(lambda v: jnp.sum(module.apply(v, ids, valid) ** 2)))(variables)
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
  train = jax.jit(
    lambda key: module.apply(variables, ids, valid, train=True, rngs={"dropout": key})
  )
  assert not np.allclose(train(jax.random.key(0)), train(jax.random.key(1)))


def test_fields_and_inputs_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match="Deberta.terms: expected one of"):
    Deberta(**TINY, terms=("p2p",)).init(jax.random.key(0), jnp.zeros((1, 2), int))
  with pytest.raises(ValueError, match="positions for 12 tokens, found 13"):
    Deberta(**TINY).init(jax.random.key(0), jnp.zeros((1, 13), int))
