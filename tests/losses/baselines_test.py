"""Losses of the self-supervised baselines, against loops over examples in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from synjax import losses


def unit(x):
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def logsumexp(values):
  return np.log(np.sum(np.exp(values)))


def loop_clip(a, b, logit_scale):
  a, b = unit(a), unit(b)
  found = []
  for i in range(len(a)):
    rows = [np.exp(logit_scale) * a[i] @ b[j] for j in range(len(a))]
    columns = [np.exp(logit_scale) * a[j] @ b[i] for j in range(len(a))]
    found.append((logsumexp(rows) - rows[i]) / 2 + (logsumexp(columns) - columns[i]) / 2)
  return np.array(found)


def loop_sup_con(z, labels, temperature):
  z, found = unit(z), []
  for i in range(len(z)):
    others = [a for a in range(len(z)) if a != i]
    total = sum(np.exp(z[i] @ z[a] / temperature) for a in others)
    terms = [
      -np.log(np.exp(z[i] @ z[p] / temperature) / total) for p in others if labels[p] == labels[i]
    ]
    found.append(np.mean(terms) if terms else 0.0)
  return np.array(found)


@pytest.fixture
def pair():
  return np.random.default_rng(0).normal(size=(2, 7, 4))


LABELS = np.array([0, 1, 0, 2, 1, 0, 3])  # 2 and 3: alone in their class
VALID = np.array([True, True, False, True, False, True, True])


def test_clip_equals_a_loop_and_its_gradient_finite_differences(x64, pair):
  for logit_scale in (0.0, np.log(1 / 0.07), np.log(100)):
    value = losses.clip_loss(*pair, logit_scale=logit_scale)
    np.testing.assert_allclose(value, loop_clip(*pair, logit_scale), rtol=1e-11, atol=1e-11)
  mean = lambda a, b, s: losses.clip_loss(a, b, logit_scale=s).mean()  # noqa: E731
  check_grads(mean, (*pair, 0.7), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)


def test_clip_is_symmetric_and_blind_to_length_and_order(x64, pair):
  a, b = pair
  value = losses.clip_loss(a, b, logit_scale=1.0)
  np.testing.assert_allclose(losses.clip_loss(b, a, logit_scale=1.0), value, rtol=1e-12)
  scale = np.random.default_rng(1).uniform(0.1, 9, size=(7, 1))
  np.testing.assert_allclose(losses.clip_loss(scale * a, b, logit_scale=1.0), value, rtol=1e-12)
  order = np.random.default_rng(2).permutation(7)
  permuted = losses.clip_loss(a[order], b[order], logit_scale=1.0)
  np.testing.assert_allclose(permuted, value[order], rtol=1e-12)


def test_clip_of_one_direction_is_the_log_of_the_batch(x64):
  same = jnp.ones((5, 3))
  np.testing.assert_allclose(losses.clip_loss(same, same, logit_scale=2.0), np.log(5), rtol=1e-12)


def test_sup_con_equals_a_loop_and_its_gradient_finite_differences(x64, pair):
  for temperature in (0.07, 0.5):
    value = losses.sup_con(pair[0], LABELS, temperature=temperature)
    np.testing.assert_allclose(value, loop_sup_con(pair[0], LABELS, temperature), rtol=1e-11)
    assert (np.asarray(value)[[3, 6]] == 0).all()
  mean = lambda z: losses.sup_con(z, LABELS, temperature=0.5).mean()  # noqa: E731
  check_grads(mean, (pair[0],), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)


def test_sup_con_of_two_views_an_example_is_nt_xent(x64, pair):
  both, labels = np.concatenate(pair), np.tile(np.arange(7), 2)
  value = losses.sup_con(both, labels, temperature=0.2).mean()
  np.testing.assert_allclose(value, losses.nt_xent(*pair, temperature=0.2).mean(), rtol=1e-12)


def test_sup_con_is_blind_to_length_order_and_names_of_classes(x64, pair):
  value = losses.sup_con(pair[0], LABELS, temperature=0.2)
  scale = np.random.default_rng(1).uniform(0.1, 9, size=(7, 1))
  renamed = losses.sup_con(scale * pair[0], 9 - LABELS, temperature=0.2)
  np.testing.assert_allclose(renamed, value, rtol=1e-12)
  order = np.random.default_rng(2).permutation(7)
  permuted = losses.sup_con(pair[0][order], LABELS[order], temperature=0.2)
  np.testing.assert_allclose(permuted, value[order], rtol=1e-12)


def test_examples_that_are_not_valid_are_as_if_they_were_not_there(x64, pair):
  for function in (
    lambda a, b, y, v: losses.clip_loss(a, b, logit_scale=1.5, valid=v),
    lambda a, b, y, v: losses.sup_con(a, y, temperature=0.2, valid=v),
  ):
    value = np.asarray(function(*pair, LABELS, VALID))
    assert (value[~VALID] == 0).all()
    alone = function(*pair[:, VALID], LABELS[VALID], None)
    np.testing.assert_allclose(value[VALID], alone, rtol=1e-12)
    total = lambda a, b, f=function: f(a, b, LABELS, VALID).sum()  # noqa: E731
    for gradient in jax.grad(total, (0, 1))(*pair):
      np.testing.assert_array_equal(np.asarray(gradient)[~VALID], 0)


@pytest.mark.parametrize("valid", [None, np.zeros(4, bool), np.arange(4) == 1])
def test_gradients_are_finite_at_zero_vectors_and_where_nobody_takes_part(valid):
  zeros = jnp.zeros((4, 3))
  clip = lambda a, b, s: losses.clip_loss(a, b, logit_scale=s, valid=valid).sum()  # noqa: E731
  labels = jnp.array([0, 0, 1, 1])
  sup_con = lambda z: losses.sup_con(z, labels, temperature=0.1, valid=valid).sum()  # noqa: E731
  found = (jax.grad(clip, (0, 1, 2))(zeros, zeros, 2.0), jax.value_and_grad(sup_con)(zeros))
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_a_batch_of_one_has_nothing_to_tell_apart():
  one = jnp.ones((1, 3))
  sup_con = lambda z: losses.sup_con(z, jnp.zeros(1, int), temperature=0.1).sum()  # noqa: E731
  value, gradient = jax.value_and_grad(sup_con)(one)
  assert value == 0
  np.testing.assert_array_equal(gradient, 0)
  np.testing.assert_allclose(losses.clip_loss(one, one, logit_scale=1.0), 0, atol=1e-6)


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


def test_masked_mse_equals_a_loop_and_shown_tokens_have_no_gradient(x64):
  rng = np.random.default_rng(0)
  prediction, target = rng.normal(size=(2, 3, 5, 4))
  masked = rng.random((3, 5)) < 0.5
  masked[2] = False  # everything is shown
  expected = [
    np.mean([(prediction[b, t] - target[b, t]) ** 2 for t in range(5) if masked[b, t]])
    if masked[b].any()
    else 0.0
    for b in range(3)
  ]
  np.testing.assert_allclose(losses.masked_mse(prediction, target, masked), expected, rtol=1e-12)
  total = lambda p: losses.masked_mse(p, target, masked).sum()  # noqa: E731
  check_grads(total, (prediction,), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)
  np.testing.assert_array_equal(np.asarray(jax.grad(total)(prediction))[~masked], 0)
  wrong = np.where(masked[..., None], prediction, 1e200)  # squared: infinite
  np.testing.assert_allclose(losses.masked_mse(wrong, target, masked), expected, rtol=1e-12)


def test_shapes_that_do_not_fit_are_refused():
  wide, scores = jnp.ones((4, 3)), jnp.ones((4, 3))
  for call, message in (
    (lambda: losses.clip_loss(wide, wide[:3], logit_scale=0.0), "clip_loss needs"),
    (lambda: losses.sup_con(wide, jnp.zeros(3, int), temperature=1.0), "sup_con needs"),
    (lambda: losses.info_nce_lower(scores), "info_nce_lower needs"),
    (lambda: losses.club_upper(scores), "club_upper needs"),
    (lambda: losses.masked_mse(wide, wide, jnp.ones(4, bool)), "masked_mse needs"),
  ):
    with pytest.raises(ValueError, match=message):
      call()
