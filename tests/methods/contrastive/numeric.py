"""Gradients of expectations that are written in NumPy, by central differences."""

import numpy as np


def slopes(function, x, count=3, step=1e-6):
  """Returns (entries, d function / d x there) of a few entries of an array, function: array -> number."""
  x = np.asarray(x, np.float64)
  entries = np.random.default_rng(0).choice(x.size, min(count, x.size), replace=False)
  found = []
  for entry in entries:
    moved = [x.copy(), x.copy()]
    for copy, sign in zip(moved, (1, -1), strict=True):
      copy.flat[entry] += sign * step
    found.append((function(moved[0]) - function(moved[1])) / (2 * step))
  return entries, np.array(found)


def check(gradient, function, x):
  """Asserts that a gradient is that of `function` at `x`, on a few entries."""
  entries, expected = slopes(function, x)
  np.testing.assert_allclose(np.asarray(gradient).ravel()[entries], expected, rtol=1e-5, atol=1e-8)
