import jax
import numpy as np
import pytest
import scipy.stats

from synjax.masking import draws

IMPLEMENTATIONS = ("threefry2x32", "rbg", "unsafe_rbg")


def example_keys(count, impl="threefry2x32"):
  return jax.random.split(jax.random.key(3, impl=impl), count)


@pytest.mark.parametrize("impl", IMPLEMENTATIONS)
def test_a_draw_is_that_of_its_example_alone(impl):
  """Under vmap, keys of rbg draw as one: these would tie an example to its batch."""
  keys = example_keys(6, impl)
  whole = np.asarray(draws.standard_normal(keys, (2, 3)))
  assert whole.shape == (6, 2, 3) and len(np.unique(whole)) == whole.size
  for i, key in enumerate(draws.threefry(keys)):
    np.testing.assert_array_equal(whole[i], jax.random.normal(key, (2, 3)))
  order = np.array([4, 1, 5])
  np.testing.assert_array_equal(draws.standard_normal(keys[order], (2, 3)), whole[order])


def test_keys_of_threefry_stay_what_they_are():
  keys = example_keys(4)
  assert (draws.threefry(keys) == keys).all()


def test_keys_of_another_generator_keep_the_shape_and_stay_apart():
  keys = example_keys(8, "rbg").reshape(2, 4)
  found = draws.threefry(keys)
  assert found.shape == (2, 4) and str(jax.random.key_impl(found)) == "threefry2x32"
  assert len(np.unique(jax.random.key_data(found).reshape(8, 2), axis=0)) == 8


@pytest.mark.parametrize("impl", IMPLEMENTATIONS[:2])
def test_draws_are_normal_within_and_across_examples(impl):
  values = np.asarray(draws.standard_normal(example_keys(2000, impl), (4,)))
  assert scipy.stats.kstest(values.ravel(), "norm").pvalue > 1e-3
  assert (np.abs(np.corrcoef(values.T)[np.triu_indices(4, 1)]) < 4.5 / np.sqrt(2000)).all()
  assert abs(np.mean(values[1:] * values[:-1])) < 4.5 / np.sqrt(8000)
