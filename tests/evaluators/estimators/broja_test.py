"""BROJA and Gaussian decompositions against known values, a general optimiser and their laws."""

import dataclasses
import time

import numpy as np
import pytest
from scipy import linalg, optimize

from synjax.evaluators.estimators import broja


def parts(decomposition):
  return np.array(dataclasses.astuple(decomposition))


def gate(function, sizes):
  """p[x1, x2, y] of independent uniform inputs and y = function(x1, x2)."""
  labels = np.array([[function(a, b) for b in range(sizes[1])] for a in range(sizes[0])])
  return np.eye(labels.max() + 1)[labels] / labels.size


def copies():
  p = np.zeros((2, 2, 2))
  p[0, 0, 0] = p[1, 1, 1] = 0.5
  return p


COLOR_OF_TEXTURE = [5, 6, 0, 7, 3, 2, 4, 9, 1, 8]
H_TENTH = -(0.1 * np.log2(0.1) + 0.9 * np.log2(0.9))
# docs/spec/verification.md 3.2; expected R, U1, U2, S in bits
CASES = {
  "and": (gate(lambda a, b: a & b, (2, 2)), (0.311278, 0, 0, 0.5)),
  "or": (gate(lambda a, b: a | b, (2, 2)), (0.311278, 0, 0, 0.5)),
  "xor": (gate(lambda a, b: a ^ b, (2, 2)), (0, 0, 0, 1)),
  "first": (gate(lambda a, b: a, (2, 2)), (0, 1, 0, 0)),
  "second": (gate(lambda a, b: b, (2, 2)), (0, 0, 1, 0)),
  "copies": (copies(), (1, 0, 0, 0)),
  "sum": (gate(lambda a, b: a + b, (2, 2)), (0.5, 0, 0, 1)),
  "pair": (gate(lambda a, b: 2 * a + b, (2, 2)), (0, 1, 1, 0)),
  "mod3": (gate(lambda a, b: (a + b) % 3, (3, 3)), (0, 0, 0, np.log2(3))),
  "trifeature": (gate(lambda a, b: int(b == COLOR_OF_TEXTURE[a]), (10, 10)), (0, 0, 0, H_TENTH)),
  "constant": (np.ones((1, 1, 1)), (0, 0, 0, 0)),
  "constant label": (np.full((2, 3, 1), 1 / 6), (0, 0, 0, 0)),
  "latin": (gate(lambda a, b: (a + b) % 7, (7, 7)), (0, 0, 0, np.log2(7))),
}


@pytest.mark.parametrize("case", CASES)
def test_broja_has_the_known_parts(case):
  p, expected = CASES[case]
  np.testing.assert_allclose(parts(broja.broja(p)), expected, atol=1e-6)


def mixture(unique1, unique2, redundancy, synergy):
  """One of four visible sources carries the label; a bit that does not is a coin toss."""
  p = np.zeros((4, 2, 4, 2, 2))  # source, bit of x1, source, bit of x2, y
  for y in range(2):
    for coin in range(2):
      p[0, y, 0, coin, y] += unique1 / 4
      p[1, coin, 1, y, y] += unique2 / 4
      p[3, coin, 3, coin ^ y, y] += synergy / 4
    p[2, y, 2, y, y] += redundancy / 2
  return p.reshape(8, 8, 2)


@pytest.mark.parametrize(
  "shares", [(0.1, 0.1, 0.4, 0.4), (0.2, 0.1, 0.3, 0.4), (0.45, 0, 0.45, 0.1), (0, 0.3, 0, 0.7)]
)
def test_unique_shares_of_a_mixture_are_redundancy_and_synergy_as_far_as_they_are_equal(shares):
  unique1, unique2, redundancy, synergy = shares
  least = min(unique1, unique2)
  expected = (redundancy + least, unique1 - least, unique2 - least, synergy + least)
  np.testing.assert_allclose(parts(broja.broja(mixture(*shares))), expected, atol=1e-6)


def random_distributions(count, seed, sizes=(2, 6)):
  """Dense and sparse ones, down to probabilities of 1e-20 and to counts of 60 samples."""
  rng = np.random.default_rng(seed)
  for i in range(count):
    shape = rng.integers(*sizes, 3)
    p = rng.dirichlet(np.full(shape.prod(), rng.choice([0.05, 0.3, 1, 5]))).reshape(shape)
    if i % 3 == 0:
      p = np.where(rng.random(shape) < 0.5, p, 0)
      p[0, 0, 0] += 1e-3
    if i % 5 == 0:
      p = rng.multinomial(60, (p / p.sum()).ravel()).reshape(shape).astype(float)
    yield p / p.sum()


def information(joint):
  """I(X; Y) of joint [x, y], bits, in the textbook form of entropies."""
  entropies = [
    -sum(v * np.log2(v) for v in np.ravel(a) if v > 0) for a in (joint.sum(0), joint.sum(1), joint)
  ]
  return entropies[0] + entropies[1] - entropies[2]


def test_parts_are_nonnegative_and_sum_to_the_informations():
  for p in random_distributions(150, seed=0):
    redundancy, unique1, unique2, synergy = found = parts(broja.broja(p))
    assert found.min() >= 0
    total = information(p.reshape(-1, p.shape[2]))
    np.testing.assert_allclose(found.sum(), total, atol=1e-7)
    np.testing.assert_allclose(redundancy + unique1, information(p.sum(1)), atol=1e-7)
    np.testing.assert_allclose(redundancy + unique2, information(p.sum(0)), atol=1e-7)


def test_exchanging_the_inputs_exchanges_their_unique_parts():
  for p in random_distributions(30, seed=1):
    redundancy, unique1, unique2, synergy = parts(broja.broja(p))
    swapped = parts(broja.broja(p.transpose(1, 0, 2)))
    np.testing.assert_allclose(swapped, (redundancy, unique2, unique1, synergy), atol=1e-7)


def minimise_information(p):
  """min_q I_q(Y; X1, X2), bits, by sequential quadratic programming over q - p."""
  numbers = np.arange(p.size).reshape(p.shape)
  fixed = [numbers[i, :, j] for i in range(p.shape[0]) for j in range(p.shape[2])]
  fixed += [numbers[:, i, j] for i in range(p.shape[1]) for j in range(p.shape[2])]
  # What may be added to p without changing its marginals, so that no equations are left.
  directions = linalg.null_space([np.isin(numbers.ravel(), group).astype(float) for group in fixed])

  def objective(t):
    q = np.maximum(p.ravel() + directions @ t, 1e-300).reshape(p.shape)
    log_ratio = np.log(q / (q.sum((0, 1)) * q.sum(2, keepdims=True)))
    return np.sum(q * log_ratio), directions.T @ log_ratio.ravel()

  found = optimize.minimize(
    objective,
    np.zeros(directions.shape[1]),
    jac=True,
    method="SLSQP",
    constraints=optimize.LinearConstraint(directions, lb=-p.ravel()),
    options={"ftol": 1e-12, "maxiter": 300},
  )
  assert (p.ravel() + directions @ found.x).min() > -1e-9  # feasible: an upper bound if not optimal
  return found.fun / np.log(2)


@pytest.mark.parametrize("shape", [(2, 2, 2), (2, 3, 2)])
def test_a_general_optimiser_finds_the_same_union_information(shape):
  rng = np.random.default_rng(2)
  for _ in range(5):
    p = rng.dirichlet(np.ones(np.prod(shape))).reshape(shape)
    found = broja.broja(p)
    union = found.redundancy + found.unique1 + found.unique2
    np.testing.assert_allclose(union, minimise_information(p), atol=1e-5)


def test_a_decomposition_of_200_entries_takes_well_under_a_second():
  p = np.random.default_rng(0).dirichlet(np.full(200, 0.5)).reshape(10, 10, 2)
  start = time.process_time()
  for _ in range(5):
    broja.broja(p)
  assert (time.process_time() - start) / 5 < 0.5


@pytest.mark.parametrize(
  ("p", "message"),
  [
    (np.ones((2, 2)) / 4, r"\[x1, x2, y\], found an array of shape \[2, 2\]"),
    (np.ones((0, 2, 2)), r"shape \[0, 2, 2\]"),
    (np.ones((2, 2, 2)), "with sum 8; divide counts by their sum"),
    (np.array([-0.5, 1.5]).reshape(1, 1, 2), "found values from -0.5"),
    (np.array([np.nan, 1]).reshape(1, 1, 2), "expected probabilities, none negative"),
  ],
)
def test_what_is_no_distribution_is_refused(p, message):
  with pytest.raises(ValueError, match=message):
    broja.broja(p)


# --- Gaussian ---


def test_gaussian_sum_has_the_closed_form():
  covariance = np.array([[1, 0, 1], [0, 1, 1], [1, 1, 3.0]])  # y = x1 + x2 + N(0, 1)
  found = parts(broja.gaussian_mmi(covariance, (1, 1, 1)))
  np.testing.assert_allclose(found, (np.log2(1.5) / 2, 0, 0, 0.5), atol=1e-12)
  np.testing.assert_allclose(found[0], 0.292481, atol=1e-6)


def test_gaussian_parts_of_vectors():
  # y = (a, b) + N(0, I): x1 = (a, b) knows all, x2 = b only half, with noise variance 1 of its own.
  unit, half = np.eye(2), np.array([[0.0], [1.0]])
  covariance = np.block(
    [[unit, half, unit], [half.T, 2 * np.eye(1), half.T], [unit, half, 2 * unit]]
  )
  redundancy = -np.log2(1 - 1 / 4) / 2  # correlation of b + noise and b + noise is 1/2
  found = parts(broja.gaussian_mmi(covariance, (2, 1, 2)))
  np.testing.assert_allclose(found, (redundancy, 1 - redundancy, 0, 0), atol=1e-12)


@pytest.mark.parametrize(
  ("covariance", "message"),
  [
    (np.eye(2), r"expected \[3, 3\]"),
    (np.array([[1, 0, 1], [0, 1, 1], [1, 1, 2.0]]), "add the variance of its noise"),
    (np.eye(3) + np.eye(3, k=1) / 2, "asymmetric"),
  ],
)
def test_gaussian_covariances_that_are_none_are_refused(covariance, message):
  with pytest.raises(ValueError, match=message):
    broja.gaussian_mmi(covariance, (1, 1, 1))


# --- Samples ---


def test_independent_samples_report_synergy_and_the_null_shows_it():
  rng = np.random.default_rng(0)
  x1, x2, y = rng.integers(20, size=686), rng.integers(20, size=686), rng.integers(2, size=686)
  found = broja.pid_of_samples(x1, x2, y, num_shuffles=10)
  assert found.estimate.synergy == pytest.approx(0.46, abs=0.06)  # docs/spec/verification.md 3.2
  assert abs(found.estimate.synergy - found.null_mean.synergy) < 4 * found.null_std.synergy
  assert 0 < found.null_std.synergy < 0.05


def test_samples_of_xor_stand_out_of_their_null():
  rng = np.random.default_rng(0)
  x1, x2 = rng.integers(2, size=(2, 500))
  found = broja.pid_of_samples(10 * x1 - 7, x2.astype(bool), x1 ^ x2)
  assert found.estimate.synergy > 0.98
  assert found.null_mean.synergy < 0.01
  again = broja.pid_of_samples(x1, x2, x1 ^ x2)
  assert again == found  # codes are names; shuffles are a function of the seed


def test_numbers_are_cut_into_bins_of_equally_many_samples():
  rng = np.random.default_rng(0)
  x1, x2 = rng.normal(size=(2, 2000))
  y = ((x1 > np.median(x1)) ^ (x2 > np.median(x2))).astype(int)
  found = broja.pid_of_samples(np.exp(x1), x2, y, num_bins=2)
  assert found.estimate.synergy > 0.95
  codes = broja._quantile_codes("x1", x1, 4)
  np.testing.assert_array_equal(np.bincount(codes), [500] * 4)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"x1": np.zeros(3)}, "x1: expected integer codes .* num_bins"),
    ({"y": np.zeros((4, 1), int)}, r"y: .* shape \[4, 1\]"),
    ({"x2": np.zeros(3, int)}, "found 4, 3 and 4"),
    ({"num_shuffles": 1}, "2 or more"),
    ({"num_bins": 1}, "num_bins 1"),
    ({"num_bins": 2, "x2": np.array([0, np.inf, 0, 0])}, "1 numbers that are not finite"),
  ],
)
def test_samples_that_do_not_fit_are_refused(change, message):
  arguments = {"x1": np.zeros(4, int), "x2": np.zeros(4, int), "y": np.zeros(4, int)} | change
  with pytest.raises(ValueError, match=message):
    broja.pid_of_samples(**arguments)
