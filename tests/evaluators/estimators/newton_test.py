"""Fits in float64 of data on which float32 stops early: the gradient by hand says where they are."""

import numpy as np
import pytest
import scipy.special

from synjax.evaluators.estimators import logistic


def rare_classes(rng):
  return np.repeat([0, 1, 2], [4, 150, 86]), rng.normal(size=(240, 24))


def outlier_row(rng):
  features = rng.normal(size=(240, 24))
  features[7] *= 1e4
  return rng.integers(0, 5, 240), features


def wide_scales(rng):
  return rng.integers(0, 3, 240), rng.normal(size=(240, 24)) * np.logspace(-4, 4, 24)


def duplicated(rng):
  features = rng.normal(size=(240, 12))
  return rng.integers(0, 3, 240), np.concatenate([features, features], axis=1)


@pytest.mark.parametrize("make", [rare_classes, outlier_row, wide_scales, duplicated])
def test_awkward_features_end_at_the_minimum_warm_and_cold(make):
  rng = np.random.default_rng(0)
  labels, features = make(rng)
  centers = rng.normal(size=(labels.max() + 1, features.shape[1])) * features.std(0) / 3
  features = (features + centers[labels]).astype(np.float32)
  wide, onehot = features.astype(np.float64), np.eye(labels.max() + 1)[labels]
  test = rng.normal(size=(4000, features.shape[1])) * wide.std(0)
  problem = logistic.Problem(features, labels, num_classes=onehot.shape[1], penalty="squared")
  for cost in (1e-2, 1.0, 1e2, 1e4):
    predictions = []
    for warm in (True, False):
      found = problem.fit(cost, warm=warm)
      assert found.converged
      error = scipy.special.softmax(wide @ found.weight.T + found.bias, axis=1) - onehot
      strength = (2 if onehot.shape[1] == 2 else 1) / (cost * len(labels))
      gradient = error.T @ wide / len(labels) + strength * found.weight
      # Strongly convex in W: this bounds how far W is from the minimum, as a share of W.
      assert np.linalg.norm(gradient) <= 1e-3 * strength * np.linalg.norm(found.weight)
      assert np.abs(error.mean(0)).max() <= 1e-4  # the bias is not penalised
      predictions.append((test @ found.weight.T + found.bias).argmax(1))
    assert (predictions[0] == predictions[1]).mean() > 0.998
