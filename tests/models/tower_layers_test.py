import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from synjax.models import tower_layers
from synjax.models.layers import Dropout


@pytest.mark.parametrize("causal", [False, True])
def test_every_way_of_attending_is_the_same(causal):
  """jax's attention, our own beside dropout, and a loop in NumPy."""
  rng = np.random.default_rng(0)
  query, key, value = rng.normal(size=(3, 2, 5, 3, 4)).astype(np.float32)
  bias = rng.normal(size=(2, 3, 5, 5)).astype(np.float32)
  valid = np.arange(5) < np.array([[3], [5]])
  read = np.broadcast_to(valid[:, None, None, :], bias.shape) & (
    np.tri(5, dtype=bool) | (not causal)
  )
  logits = np.einsum("bqhd,bkhd->bhqk", *np.float64((query, key))) * 0.3 + bias
  weights = special.softmax(np.where(read, logits, -np.inf), axis=-1)
  expected = np.einsum("bhqk,bkhd->bqhd", weights, value).reshape(2, 5, 12)
  fields = {"valid": valid, "bias": bias, "causal": causal, "scale": 0.3}
  found = tower_layers.attend(query, key, value, **fields)
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
  with jax.enable_x64(True):
    wide = (jnp.float64(x) for x in (query, key, value))
    found = tower_layers.attend(*wide, **fields | {"bias": jnp.float64(bias)})
  assert found.dtype == np.float64
  np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)

  class Dropped:
    def __call__(self, weights, train):
      assert train
      return weights

  found = tower_layers.attend(query, key, value, **fields, dropout=Dropped())
  np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_an_example_without_keys_has_finite_outputs():
  x = np.ones((1, 3, 2, 4), np.float32)
  none = np.zeros((1, 3), bool)
  for dtype in (np.float32, jnp.bfloat16):
    assert np.isfinite(tower_layers.attend(*(x.astype(dtype),) * 3, valid=none)).all()


def test_activations_are_the_published_ones():
  u = np.linspace(-4, 4, 9)
  exact = u * special.ndtr(u)
  np.testing.assert_allclose(tower_layers.ACTIVATIONS["gelu"](u), exact, atol=1e-6)
  quick = tower_layers.ACTIVATIONS["quick_gelu"](u)
  np.testing.assert_allclose(quick, u * special.expit(1.702 * u), atol=1e-6)
  difference = np.abs(np.asarray(tower_layers.ACTIVATIONS["gelu_new"](u)) - exact)
  assert 1e-5 < difference.max() < 1e-3


def test_dropout_is_there_in_training_alone():
  assert isinstance(tower_layers.active(0.1, True), Dropout)
  assert tower_layers.active(0.1, False) is None and tower_layers.active(0.0, True) is None
