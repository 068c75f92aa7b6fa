"""Bounds of a critic, against loops over pairs in NumPy and what is known of Gaussians."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.special import logsumexp

from synjax import losses


def test_bounds_of_a_critic_equal_loops(x64):
  scores = np.random.default_rng(0).normal(size=(6, 6)) * 3
  positives = [scores[i, i] for i in range(6)]
  lower = np.mean([scores[i, i] - logsumexp(scores[i]) for i in range(6)]) + np.log(6)
  np.testing.assert_allclose(losses.info_nce_lower(scores), lower, rtol=1e-12)
  upper = np.mean(positives) - np.mean([scores[i, j] for i in range(6) for j in range(6)])
  np.testing.assert_allclose(losses.club_upper(scores), upper, rtol=1e-12)
  for bound in (losses.info_nce_lower, losses.club_upper):
    check_grads(bound, (scores,), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)


def test_bounds_of_the_best_critic_enclose_the_mutual_information_of_gaussians(x64):
  # log p(y | x) is the critic at which both bounds are tight up to log N and sampling.
  rng, rho, size = np.random.default_rng(0), 0.8, 4000
  x, y = rng.normal(size=(2, size))
  y = rho * x + np.sqrt(1 - rho**2) * y
  scores = -((y[:, None] - rho * x) ** 2) / (2 * (1 - rho**2))
  known = -0.5 * np.log(1 - rho**2)
  assert losses.info_nce_lower(scores) == pytest.approx(known, abs=0.03)
  # Its value at the true conditional, rho^2 / (1 - rho^2), is above the information.
  assert losses.club_upper(scores) == pytest.approx(rho**2 / (1 - rho**2), abs=0.1)
  certain = 1e3 * np.eye(8)
  np.testing.assert_allclose(losses.info_nce_lower(certain), np.log(8), rtol=1e-12)


def test_bounds_do_not_see_a_constant_or_an_order_of_the_examples(x64):
  scores = np.random.default_rng(0).normal(size=(6, 6))
  order = np.random.default_rng(1).permutation(6)
  for bound in (losses.info_nce_lower, losses.club_upper):
    value = bound(scores)
    np.testing.assert_allclose(bound(scores + 5.0), value, rtol=1e-9)
    np.testing.assert_allclose(bound(scores[np.ix_(order, order)]), value, rtol=1e-9)


def test_examples_that_are_not_valid_are_as_if_they_were_not_there(x64):
  scores = np.random.default_rng(0).normal(size=(6, 6)) * 3
  valid = np.array([True, False, True, True, False, True])
  for bound in (losses.info_nce_lower, losses.club_upper):
    alone = bound(scores[np.ix_(valid, valid)])
    np.testing.assert_allclose(bound(scores, valid=valid), alone, rtol=1e-12)
    gradient = jax.jit(jax.grad(lambda m, f=bound: f(m, valid=valid)))(scores)
    np.testing.assert_array_equal(np.asarray(gradient)[~valid], 0)
    np.testing.assert_array_equal(np.asarray(gradient)[:, ~valid], 0)
    assert bound(scores, valid=np.zeros(6, bool)) == 0


def test_scores_that_are_not_of_every_pair_are_refused():
  for bound in (losses.info_nce_lower, losses.club_upper):
    with pytest.raises(ValueError, match=f"{bound.__name__} needs"):
      bound(jnp.ones((4, 3)))
