"""Statistics of scores against closed forms and scipy."""

import numpy as np
import pytest
from scipy import stats

from synjax.evaluators.estimators import normality
from synjax.evaluators.estimators.normality import gaussian_reference, gaussianity

TWO_POINT_KS = 0.5 - stats.norm.cdf(-1)


def quantiles(distribution, count):
  """Scores [1, count] whose empirical distribution is close to the given one."""
  return distribution.ppf((np.arange(count) + 0.5) / count)[None]


def one(scores):
  return {name: values[0] for name, values in gaussianity(scores).items()}


def test_every_statistic_is_there_in_float64():
  found = gaussianity(np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32))
  assert tuple(found) == normality.STATISTICS
  assert {(v.shape, v.dtype) for v in found.values()} == {((5,), np.dtype(np.float64))}


@pytest.mark.parametrize("std", [0.3, 1.0, 1.5])
def test_normal_quantiles_have_no_gap_and_no_shape(std):
  found = one(quantiles(stats.norm(9, std), 200_000))
  assert found["gap"] == pytest.approx(0, abs=1e-3)
  assert found["skewness"] == pytest.approx(0, abs=1e-9)
  assert found["excess_kurtosis"] == pytest.approx(0, abs=2e-3)
  assert found["ks"] < 1e-4
  assert found["variance"] == pytest.approx(std**2, rel=1e-3)


def test_normal_samples_have_a_small_gap_and_the_ks_of_a_fitted_normal():
  found = gaussianity(np.random.default_rng(0).normal(4, 0.5, size=(400, 256)))
  assert abs(found["gap"].mean()) < 3e-3
  assert np.abs(found["gap"]).max() < 0.05
  # Lilliefors' 5 % point for large n is 0.895 / sqrt(n) (Mason and Bell 1986, 0.895 / f(n)).
  assert np.quantile(found["ks"], 0.95) == pytest.approx(0.895 / 16, rel=0.1)


@pytest.mark.parametrize("half_distance", [0.1, 1.0, 4.0, 30.0])
def test_two_points_of_equal_weight(half_distance):
  d = half_distance
  found = one(np.array([[3 - d, 3 + d] * 50]))
  log_cosh = np.logaddexp(d, -d) - np.log(2)
  assert found["gap"] == pytest.approx(log_cosh - d**2 / 2, rel=1e-9, abs=1e-12)
  assert found["variance"] == pytest.approx(d**2)
  assert found["skewness"] == pytest.approx(0, abs=1e-9)
  assert found["excess_kurtosis"] == pytest.approx(-2)
  assert found["ks"] == pytest.approx(TWO_POINT_KS)


def test_two_points_of_unequal_weight():
  p, d = 0.1, 2.5
  found = one(np.repeat([1.0, 1 + d], [90, 10])[None])
  moment = np.log(1 - p + p * np.exp(d))
  assert found["gap"] == pytest.approx(moment - p * d - p * (1 - p) * d**2 / 2)
  assert found["skewness"] == pytest.approx((1 - 2 * p) / np.sqrt(p * (1 - p)))
  assert found["excess_kurtosis"] == pytest.approx((1 - 6 * p * (1 - p)) / (p * (1 - p)))


def test_exponential():
  scale = 0.3
  found = one(quantiles(stats.expon(scale=scale), 1_000_000))
  assert found["skewness"] == pytest.approx(2, rel=5e-3)
  assert found["excess_kurtosis"] == pytest.approx(6, rel=1e-2)
  assert found["variance"] == pytest.approx(scale**2, rel=1e-4)
  # E exp(s) = 1 / (1 - scale).
  assert found["gap"] == pytest.approx(-np.log(1 - scale) - scale - scale**2 / 2, rel=1e-2)
  # The largest distance is at or before the start: Phi(-1) against 0, or where 1 - e^-x leads.
  x = np.linspace(0, 6, 100_001)
  distance = np.abs(1 - np.exp(-x) - stats.norm.cdf(x - 1)).max()
  assert found["ks"] == pytest.approx(max(distance, stats.norm.cdf(-1)), rel=1e-4)


@pytest.mark.parametrize("num_masks", [2, 5, 64])
def test_scipy_agrees(num_masks):
  scores = np.random.default_rng(1).gamma(2, size=(6, num_masks))
  scores[0, : num_masks // 2] = scores[0, 0]  # ties
  found = gaussianity(scores)
  np.testing.assert_allclose(found["skewness"], stats.skew(scores, axis=1), atol=1e-12)
  np.testing.assert_allclose(found["excess_kurtosis"], stats.kurtosis(scores, axis=1))
  expected = [stats.kstest(s, stats.norm(s.mean(), s.std()).cdf).statistic for s in scores]
  np.testing.assert_allclose(found["ks"], expected)
  np.testing.assert_allclose(found["variance"], scores.var(axis=1))
  plain = np.log(np.exp(scores).mean(1)) - scores.mean(1) - scores.var(1) / 2
  np.testing.assert_allclose(found["gap"], plain, rtol=1e-9, atol=1e-12)


def test_order_of_masks_and_shifts_change_nothing_and_scale_only_what_has_units():
  rng = np.random.default_rng(2)
  scores = rng.gamma(2, size=(6, 40))
  found = gaussianity(scores)
  for changed in (rng.permuted(scores, axis=1), scores + 700, scores - 700):
    again = gaussianity(changed)
    for name in found:
      np.testing.assert_allclose(again[name], found[name], rtol=1e-7, atol=1e-9, err_msg=name)
  doubled = gaussianity(2 * scores)
  np.testing.assert_allclose(doubled["variance"], 4 * found["variance"])
  for name in ("skewness", "excess_kurtosis", "ks"):
    np.testing.assert_allclose(doubled[name], found[name], rtol=1e-9)
  assert (np.abs(doubled["gap"]) > 1.5 * np.abs(found["gap"])).all()


def test_examples_do_not_mix():
  scores = np.random.default_rng(3).normal(size=(6, 40)) * np.arange(1, 7)[:, None]
  found, alone = gaussianity(scores), gaussianity(scores[4:5])
  for name in found:
    np.testing.assert_allclose(found[name][4:5], alone[name], rtol=1e-12)


def test_equal_scores_have_no_gap_and_no_shape():
  rounding = 10 + 1e-6 * np.random.default_rng(0).normal(size=(1, 20))
  for scores in (np.full((1, 20), 0.1), np.zeros((1, 20)), rounding):
    found = one(scores)
    assert found["gap"] == pytest.approx(0, abs=1e-9)
    assert found["variance"] == pytest.approx(0, abs=1e-10)
    assert np.isnan([found[name] for name in ("skewness", "excess_kurtosis", "ks")]).all()


@pytest.mark.parametrize(
  ("scores", "message"),
  [
    (np.zeros(5), r"\[5\]"),
    (np.zeros((5, 1)), r"\[5, 1\]"),
    (np.array([[0.0, 1], [np.nan, 1]]), "1 of 2 .* first 1"),
  ],
)
def test_wrong_scores_are_named(scores, message):
  with pytest.raises(ValueError, match=message):
    gaussianity(scores)


def test_reference_has_the_bias_of_finitely_many_masks():
  num_masks = 64
  found = gaussian_reference(np.ones(20_000), num_masks=num_masks)
  # log mean exp loses (e^v - 1) / (2 K) and half the population variance v / (2 K), to first order.
  assert found["gap"].mean() == pytest.approx(-(np.e - 2) / (2 * num_masks), rel=0.2)
  assert found["variance"].mean() == pytest.approx(1 - 1 / num_masks, abs=4e-3)
  assert found["excess_kurtosis"].mean() == pytest.approx(-6 / (num_masks + 1), abs=0.02)
