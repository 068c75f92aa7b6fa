import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models.encoders.distilbert import DistilBert
from tests import drawn

TINY = {
  "width": 8,
  "num_layers": 1,
  "num_heads": 2,
  "hidden": 12,
  "vocabulary": 20,
  "max_length": 7,
}
IDS = np.array([[3, 9, 4, 1, 0, 0], [7, 1, 2, 9, 5, 6], [0, 0, 0, 0, 0, 0]])
VALID = np.arange(6) < np.array([[4], [6], [0]])


def test_padding_changes_nothing_and_gradients_are_finite_without_any_token():
  module = DistilBert(**TINY)
  variables = drawn.variables(module.init, IDS)
  apply = jax.jit(module.apply)
  found = apply(variables, IDS, VALID)
  other = np.where(VALID, IDS, 11)
  np.testing.assert_allclose(apply(variables, other, VALID)[0, :4], found[0, :4], atol=1e-6)
  np.testing.assert_allclose(apply(variables, IDS[:1, :4])[0], found[0, :4], atol=1e-5)
  gradient = jax.jit(jax.grad(lambda v: jnp.sum(module.apply(v, IDS, VALID) ** 2)))(variables)
  assert np.isfinite(found).all()
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_training_drops_entries():
  module = DistilBert(**TINY)
  variables = drawn.variables(module.init, IDS)

  def train(module, seed):
    rngs = {"dropout": jax.random.key(seed)}
    return jax.jit(lambda v: module.apply(v, IDS, VALID, train=True, rngs=rngs))(variables)

  assert not np.allclose(train(module, 0), train(module, 1))
  for fields in ({"dropout": 0.0}, {"attention_dropout": 0.0}):
    assert not np.allclose(train(module.clone(**fields), 0), module.apply(variables, IDS, VALID))
  without = module.clone(dropout=0.0, attention_dropout=0.0)
  expected = module.apply(variables, IDS, VALID)
  np.testing.assert_allclose(train(without, 0)[VALID], expected[VALID], atol=1e-6)


def test_inputs_that_do_not_fit_are_refused():
  with pytest.raises(ValueError, match="DistilBert expects an input of token ids"):
    DistilBert(**TINY).init(jax.random.key(0), jnp.zeros((2, 3, 4)))
  with pytest.raises(ValueError, match="DistilBert.width: expected a multiple of num_heads = 3"):
    DistilBert(**TINY | {"num_heads": 3}).init(jax.random.key(0), IDS)
