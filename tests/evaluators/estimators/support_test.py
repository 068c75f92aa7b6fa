"""How many features a probe needs, and must lose: labels whose features are known."""

import numpy as np
import pytest

from synjax.evaluators.estimators.support import destroy_support, read_support


def draw(weights, count, seed):
  """Features N(0, 1) and the sign of their weighted sum."""
  x = np.random.default_rng(seed).normal(size=(count, len(weights)))
  return x, (x @ np.array(weights) > 0).astype(int)


@pytest.mark.parametrize(("num", "most"), [(1, 1), (4, 4)])
def test_only_what_tells_the_label_is_read_and_must_go(num, most):
  weights = [1.0] * num + [0.0] * (12 - num)
  train, test = draw(weights, 2000, 0), draw(weights, 2000, 1)
  assert 1 <= read_support(train, test) <= most
  # Of four equal ones the last still reads 0.5 + arcsin(0.5) / pi = 0.667.
  assert destroy_support(train, test) == num


def test_copies_are_read_by_a_few_and_must_all_go():
  x, y = draw([1.0, 0.0, 0.0], 2000, 0)
  noise = np.random.default_rng(2).normal(size=(2000, 6))
  copies = np.column_stack([x[:, :1] + 0.3 * noise, x[:, 1:]])
  half = (copies[:1000], y[:1000]), (copies[1000:], y[1000:])
  assert read_support(*half) < destroy_support(*half) == 6


def test_labels_that_nothing_tells_need_no_removal():
  x, _ = draw([1.0] * 5, 2000, 0)
  y = np.random.default_rng(3).integers(0, 2, 2000)
  assert destroy_support((x[:1000], y[:1000]), (x[1000:], y[1000:])) == 0
