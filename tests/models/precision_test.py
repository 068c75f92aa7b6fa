"""Computation types, and what is widened before a loss."""

import jax.numpy as jnp
import numpy as np
import pytest

from synjax.models import precision


def test_the_two_names_of_a_computation_type_and_no_other():
  assert (
    precision.compute_dtype("float32") is None
  )  # linen's "as the inputs": float64 stays float64
  assert precision.compute_dtype("bfloat16") == jnp.bfloat16
  with pytest.raises(
    ValueError, match=r"config\.dtype: expected float32 or bfloat16, found 'half'"
  ):
    precision.compute_dtype("half")


@pytest.mark.parametrize(
  ("given", "expected"),
  [("bfloat16", "float32"), ("float16", "float32"), ("float32", "float32"), ("float64", "float64")],
)
def test_numbers_are_widened_to_float32_and_never_narrowed(given, expected, x64):
  exact = np.array([1.0, -2.5, 2.0**-8, 384.0])  # of which bfloat16 loses nothing
  found = precision.at_least_float32(jnp.asarray(exact, given))
  assert found.dtype == expected
  np.testing.assert_array_equal(np.asarray(found, np.float64), exact)


def test_float64_keeps_its_digits(x64):
  x = jnp.asarray(1 / 3, jnp.float64)
  assert float(precision.at_least_float32(x)) == 1 / 3
