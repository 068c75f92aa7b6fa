"""The solver against the published fits, scikit-learn in float64 and the objective in NumPy."""

import numpy as np
import pytest
import scipy.special
import sklearn.linear_model

from synjax.evaluators.estimators import logistic

CASES = {"bin": 2, "multi": 5, "hard": 3}
COSTS = ("0.01", "1", "100")


def _blobs(num_classes, *, size=150, dim=6, seed=0, noise=1.5):
  """Overlapping classes with ill-conditioned features far from the origin."""
  random = np.random.RandomState(seed)
  labels = np.arange(size) % num_classes
  features = random.randn(num_classes, dim)[labels] + noise * random.randn(size, dim)
  mixing = np.linalg.qr(random.randn(dim, dim))[0] * np.geomspace(1, 0.02, dim)[:, None]
  return features @ mixing + 3.0, labels


def _objective(classifier, features, labels, penalty):
  logits = classifier.logits(features.astype(np.float64))
  cross_entropy = scipy.special.logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]
  return cross_entropy.mean() + penalty(np.sum(np.square(classifier.weight.astype(np.float64))))


def _published_fit(golden, case, cost, dtype):
  arrays, _ = golden("linear_probe")
  num_train = arrays[f"{case}/split"][0]
  features = arrays[f"{case}/X"].astype(dtype)
  classifier = logistic.fit(
    features[:num_train],
    arrays[f"{case}/y"][:num_train],
    cost=float(cost),
    num_classes=CASES[case],
    penalty="norm",
  )
  return classifier, arrays, features


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("case", CASES)
def test_norm_penalty_is_the_published_fit(golden, case, cost):
  classifier, arrays, features = _published_fit(golden, case, cost, np.float32)
  num_test = arrays[f"{case}/split"][2]
  np.testing.assert_allclose(classifier.loss, arrays[f"{case}/loss_C{cost}"], rtol=1e-4)
  # Relative to the largest weight: both stop before the minimum, where small ones are still moving.
  weight, bias = arrays[f"{case}/W_C{cost}"], arrays[f"{case}/b_C{cost}"]
  atol = 1e-2 * max(np.abs(weight).max(), 1e-2)
  np.testing.assert_allclose(classifier.weight, weight, atol=atol, rtol=0)
  np.testing.assert_allclose(classifier.bias, bias, atol=atol, rtol=0)
  probabilities = scipy.special.softmax(classifier.logits(features[-num_test:]), axis=1)
  np.testing.assert_allclose(probabilities, arrays[f"{case}/proba_C{cost}"], atol=2e-3)


@pytest.mark.parametrize("cost", COSTS)
@pytest.mark.parametrize("case", CASES)
def test_norm_penalty_takes_the_published_path_in_double_precision(x64, golden, case, cost):
  classifier, arrays, _ = _published_fit(golden, case, cost, np.float64)
  # Stopping at another iteration would already show at 1e-5.
  np.testing.assert_allclose(classifier.weight, arrays[f"{case}/f64/W_C{cost}"], atol=1e-10)
  np.testing.assert_allclose(classifier.bias, arrays[f"{case}/f64/b_C{cost}"], atol=1e-10)


@pytest.mark.parametrize("cost", [1e-3, 1.0, 1e3])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_squared_penalty_is_scikit_learn_in_double_precision(x64, num_classes, cost):
  features, labels = _blobs(num_classes)
  reference = sklearn.linear_model.LogisticRegression(
    C=cost, tol=1e-10, max_iter=10000, solver="newton-cg"
  ).fit(features, labels)
  found = logistic.fit(features, labels, cost=cost, num_classes=num_classes)
  weight, bias = found.weight, found.bias
  if num_classes == 2:
    np.testing.assert_allclose(weight[0], -weight[1], atol=1e-6 * np.abs(weight).max())
    weight, bias = weight[1:] - weight[:1], bias[1:] - bias[:1]
  scale = np.abs(reference.coef_).max()
  np.testing.assert_allclose(weight, reference.coef_, atol=1e-4 * scale, rtol=0)
  intercept = reference.intercept_ - reference.intercept_.mean() * (num_classes > 2)
  np.testing.assert_allclose(
    bias - bias.mean() * (num_classes > 2), intercept, atol=1e-4 * np.abs(intercept).max()
  )
  assert found.num_iterations < 100


def test_squared_penalty_in_single_precision_scores_like_the_minimum():
  features, labels = _blobs(4, size=400)
  reference = sklearn.linear_model.LogisticRegression(C=1.0, tol=1e-8, max_iter=10000)
  expected = reference.fit(features, labels).predict_proba(features)
  found = logistic.fit(features, labels, cost=1.0, num_classes=4)
  probabilities = scipy.special.softmax(found.logits(features), axis=1)
  np.testing.assert_allclose(probabilities, expected, atol=2e-3)
  assert found.weight.dtype == np.float64


@pytest.mark.parametrize(
  ("penalty", "value"),
  [
    ("squared", lambda square: square / (2 * 10.0 * 90)),
    ("norm", lambda square: np.sqrt(square) / (2 * 10.0)),
  ],
)
def test_loss_is_the_objective(x64, penalty, value):
  features, labels = _blobs(3, size=90)
  found = logistic.fit(features, labels, cost=10.0, num_classes=3, penalty=penalty)
  np.testing.assert_allclose(found.loss, _objective(found, features, labels, value), rtol=1e-12)


def test_two_classes_have_twice_the_squared_penalty_per_row(x64):
  features, labels = _blobs(2, size=90)
  found = logistic.fit(features, labels, cost=10.0, num_classes=2)
  expected = _objective(found, features, labels, lambda square: 2 * square / (2 * 10.0 * 90))
  np.testing.assert_allclose(found.loss, expected, rtol=1e-12)


@pytest.mark.parametrize("penalty", ["squared", "norm"])
def test_examples_that_are_not_valid_do_not_matter(x64, penalty):
  features, labels = _blobs(3)
  valid = np.random.RandomState(1).rand(len(labels)) < 0.6
  some = logistic.fit(features[valid], labels[valid], cost=5.0, num_classes=3, penalty=penalty)
  masked = logistic.fit(features, labels, cost=5.0, num_classes=3, penalty=penalty, valid=valid)
  np.testing.assert_allclose(masked.weight, some.weight, atol=1e-6 * np.abs(some.weight).max())
  np.testing.assert_allclose(masked.bias, some.bias, atol=1e-6 * np.abs(some.bias).max())


def test_one_compilation_serves_all_costs_and_subsets():
  features, labels = _blobs(3, size=70, dim=5)
  problem = logistic.Problem(
    features.astype(np.float32), labels.astype(np.int32), num_classes=3, penalty="squared"
  )
  problem.fit(1.0)
  before = logistic._minimize._cache_size()
  weights = [problem.fit(cost).weight for cost in (1e-6, 0.3, 1e6)]
  problem.fit(2.0, valid=np.arange(70) < 50)
  assert logistic._minimize._cache_size() == before
  norms = [np.linalg.norm(weight) for weight in weights]
  assert norms[0] < norms[1] < norms[2]


def test_warm_start_ends_at_the_same_minimum(x64):
  features, labels = _blobs(3)
  problem = logistic.Problem(features, labels.astype(np.int32), num_classes=3, penalty="squared")
  cold = problem.fit(3.0)
  problem.fit(0.1)
  warm = problem.fit(3.0, warm=True)
  np.testing.assert_allclose(warm.weight, cold.weight, atol=1e-6 * np.abs(cold.weight).max())
  assert problem.fit(3.0, warm=True).num_iterations < cold.num_iterations / 2


def test_predictions_are_of_all_examples():
  features, labels = _blobs(3)
  problem = logistic.Problem(
    features.astype(np.float32), labels.astype(np.int32), num_classes=3, penalty="squared"
  )
  valid = np.arange(len(labels)) < 60
  expected = problem.fit(1.0, valid=valid).logits(features).argmax(1)
  np.testing.assert_array_equal(problem.fit(1.0, valid=valid).predictions, expected)
  assert np.mean(expected[~valid] == labels[~valid]) > 0.4


def test_separable_classes_and_constant_features_stay_finite():
  features = np.zeros((20, 3), np.float32)
  features[10:, 0] = 1.0
  labels = np.arange(20) // 10
  for penalty in ("squared", "norm"):
    found = logistic.fit(features, labels, cost=1e6, num_classes=2, penalty=penalty)
    assert np.isfinite(found.weight).all()
    assert (found.logits(features).argmax(1) == labels).all()
  np.testing.assert_array_equal(
    logistic.fit(0 * features, labels, cost=1.0, num_classes=2).weight, 0
  )


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"features": np.zeros((6, 2, 2))}, r"\[examples, dim\]"),
    ({"labels": np.arange(5) % 2}, r"\(6, 2\) and \(5,\)"),
    ({"labels": np.arange(6) % 3}, "num_classes = 2"),
    ({"labels": np.arange(6) / 2}, "integers"),
    ({"labels": np.ones(6, int)}, "at least two classes"),
    ({"valid": np.arange(6) % 2 == 0}, "at least two classes"),
    ({"valid": np.ones(5, bool)}, "valid must be"),
    ({"features": np.array([[1.0, 2], [np.nan, 0], [1, 1]] * 2)}, "2 of 6 .* example 1"),
    ({"cost": 0.0}, "positive"),
    ({"cost": float("nan")}, "positive"),
    ({"penalty": "l1"}, "'squared' or 'norm'"),
  ],
)
def test_errors_say_what_is_wrong(change, message):
  arguments = {
    "features": np.random.RandomState(0).randn(6, 2),
    "labels": np.arange(6) % 2,
    "cost": 1.0,
    "num_classes": 2,
  } | change
  with pytest.raises(ValueError, match=message):
    logistic.fit(**arguments)


ALL_COSTS = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)


def _many_classes(size, dim, spread):
  """Training and 2,000 test examples of ten classes; separable where `dim` is large."""
  random = np.random.RandomState(0)
  centers = 0.6 * random.randn(10, dim)
  train, test = np.arange(size) % 10, np.arange(2000) % 10
  features = [centers[y] + spread * random.randn(len(y), dim) for y in (train, test)]
  return features[0].astype(np.float32), train, features[1].astype(np.float32), test


@pytest.mark.parametrize("size, dim", [(600, 256), (600, 20)])
def test_accuracy_is_that_of_a_converged_scikit_learn_at_every_cost(size, dim):
  """On separable (256) and other (20) data, in float32, from 0 and from the cost before."""
  features, labels, others, truth = _many_classes(size, dim, 2.0)
  warm = logistic.Problem(features, labels, num_classes=10, penalty="squared")
  reference = sklearn.linear_model.LogisticRegression(tol=1e-12, max_iter=20_000, warm_start=True)
  for cost in ALL_COSTS:
    reference.set_params(C=cost).fit(features.astype(float), labels)
    expected = np.mean(reference.predict(others) == truth)
    cold = logistic.fit(features, labels, cost=cost, num_classes=10)
    for found in (cold, warm.fit(cost, warm=True)):
      assert found.converged
      accuracy = np.mean(found.logits(others).argmax(1) == truth)
      assert abs(accuracy - expected) <= 0.002, (cost, accuracy, expected)


def test_a_fit_that_met_its_limit_says_so():
  features, labels, _, _ = _many_classes(60, 40, 2.0)
  short = logistic.fit(features, labels, cost=1e6, num_classes=10, max_iterations=5)
  assert not short.converged and short.num_iterations == 5


def test_cross_entropies_near_0_keep_their_relative_accuracy(x64):
  margins = np.array([[0.0, 0.0, 3.0], [-20.0, -40.0, 0.0], [-21.0, -80.0, -5.0]])
  onehot = np.array([[1, 1, 0], [0, 0, 1], [0, 0, 0]], bool)
  arguments = [None, onehot, np.ones(3), 3, True, 0.0]
  exact = scipy.special.logsumexp(margins, axis=0)
  exact[:2] = np.exp(margins[1:, :2]).sum(0)  # log(1 + x) = x to 1e-9
  found, _ = logistic._Objective(*arguments).losses(margins.astype(np.float32))
  np.testing.assert_allclose(found, exact, rtol=1e-6)
