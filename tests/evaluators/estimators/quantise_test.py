"""Codes of vectors: how many are affordable, and what they keep."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.metrics import adjusted_rand_score

from synjax.evaluators.estimators import quantise


def test_affordable_codes_leave_five_examples_a_cell():
  for n, classes in ((500, 2), (1386, 7), (7000, 10)):
    k = quantise.affordable(n, classes)
    assert k**2 * classes * 5 <= n < (k + 1) ** 2 * classes * 5
  assert quantise.affordable(10, 9) == 2
  assert quantise.affordable(10**6, 2) == quantise.MAX_CODES


def test_few_distinct_vectors_are_codes_and_many_are_clusters():
  rng = np.random.default_rng(0)
  number = rng.integers(10, size=500)
  found = quantise.codes(rng.normal(size=(10, 3))[number], 4, max_distinct=10)
  assert adjusted_rand_score(number, found) == 1  # kept, though more than 4
  group = rng.integers(3, size=500)
  points = 10 * np.eye(3)[group] + rng.normal(size=(500, 3))
  found = quantise.codes(points, 3)
  assert adjusted_rand_score(group, found) == 1
  assert len(np.unique(quantise.codes(rng.normal(size=(100, 2)), 5))) == 5


def test_units_and_constant_features_do_not_matter():
  rng = np.random.default_rng(1)
  points = rng.normal(size=(300, 3)) + 4 * np.eye(3)[rng.integers(3, size=300)]
  plain = quantise.codes(points, 3)
  scaled = np.hstack([points * [1e-3, 1e4, 1.0] + 7, np.full((300, 1), 5.0)])
  assert adjusted_rand_score(plain, quantise.codes(scaled, 3)) == 1


def test_components_are_those_of_scikit_learn():
  features = np.random.default_rng(2).normal(size=(60, 10)) @ np.diag(np.arange(1, 11))
  features[:, 1] += 5 * features[:, 0]
  found = quantise.components(features, 4)
  standard = (features - features.mean(0)) / features.std(0)
  expected = PCA(4).fit_transform(standard)
  np.testing.assert_allclose(np.abs(found), np.abs(expected), rtol=1e-6, atol=1e-8)
  assert quantise.components(features, 10).shape == (60, 10)


def test_what_is_no_finite_matrix_is_refused():
  for wrong in (np.zeros(3), np.array([[np.nan]]), np.zeros((0, 2))):
    with pytest.raises(ValueError, match="pid: expected finite features"):
      quantise.codes(wrong, 2)
