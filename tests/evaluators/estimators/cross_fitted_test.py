"""Predictions of examples that a classifier has not seen."""

import warnings

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from synjax.evaluators.estimators import cross_fitted


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
  monkeypatch.setattr(cross_fitted, "_NUM_TREES", 20)


def test_an_exclusive_or_is_predicted_and_labels_drawn_at_random_are_not():
  rng = np.random.default_rng(0)
  bits, noise = rng.integers(2, size=(2, 400)), rng.normal(size=(400, 3))
  features = np.hstack([bits.T, noise])
  found = cross_fitted.predict(features, bits[0] ^ bits[1])
  np.testing.assert_allclose(found.sum(1), 1)
  assert np.mean(found.argmax(1) == bits[0] ^ bits[1]) > 0.95
  assert cross_fitted.told(found, bits[0] ^ bits[1]) > 0.8
  # What a classifier knows by heart of examples that it was fitted to would read one bit.
  labels = rng.integers(2, size=400)
  assert cross_fitted.told(cross_fitted.predict(features, labels), labels) < 0.05


def test_many_directions_that_trees_lose_are_found_by_the_logistic_regression():
  rng = np.random.default_rng(1)
  features = rng.normal(size=(500, 60))
  labels = (features.sum(1) > 0).astype(int)
  found = cross_fitted.predict(features, labels)
  assert np.mean(found.argmax(1) == labels) > 0.9


def test_a_product_of_predictions_is_that_of_bayes_for_independent_inputs():
  rng = np.random.default_rng(2)
  prior = np.array([0.25, 0.75])
  labels = np.repeat([0, 1], [25, 75])
  channels = rng.dirichlet(np.ones(3), (2, 2))  # p(x_i | y)
  x1, x2 = rng.integers(3, size=(2, 100))
  single = [
    (joint := prior[:, None] * channel)[:, x].T / joint.sum(0)[x][:, None]
    for channel, x in zip(channels, (x1, x2), strict=True)
  ]
  both = prior * channels[0][:, x1].T * channels[1][:, x2].T
  expected = both / both.sum(1, keepdims=True)
  np.testing.assert_allclose(cross_fitted.product(*single, labels), expected, rtol=1e-6)


def test_information_is_that_of_a_noisy_channel():
  # A label that is flipped with probability 0.1: 1 - H(0.1) = 0.531 bits.
  rng = np.random.default_rng(3)
  labels = rng.integers(2, size=20_000)
  seen = labels ^ (rng.random(20_000) < 0.1)
  probabilities = np.where(np.eye(2)[seen] > 0, 0.9, 0.1)
  assert cross_fitted.told(probabilities, labels) == pytest.approx(0.531, abs=0.02)


def test_codes_of_predictions():
  rng = np.random.default_rng(4)
  binary = rng.random(1000)
  codes = cross_fitted.predicted_codes(np.stack([1 - binary, binary], 1), 5)
  assert (np.bincount(codes) == 200).all()
  assert (np.diff(codes[np.argsort(binary)]) >= 0).all()
  sure = np.eye(3)[rng.integers(3, size=200)] * 0.94 + 0.02 + 1e-3 * rng.random((200, 3))
  assert len(np.unique(cross_fitted.predicted_codes(sure, 3))) == 3


def test_a_class_of_too_few_examples_is_refused():
  labels = np.array([0] * 20 + [1] * 4)
  with pytest.raises(ValueError, match="at least 5 examples of each class .*found 4 of class 1"):
    cross_fitted.predict(np.zeros((24, 2)), labels)


def test_a_fit_that_stops_at_its_limit_says_nothing_to_the_terminal(monkeypatch):
  def slow(seed):
    return LogisticRegression(max_iter=1, random_state=seed)

  monkeypatch.setattr(cross_fitted, "_logistic", slow)
  rng = np.random.default_rng(0)
  with warnings.catch_warnings():
    warnings.simplefilter("error")
    found = cross_fitted.predict(rng.normal(size=(60, 3)), np.arange(60) % 2)
  np.testing.assert_allclose(found.sum(1), 1)
