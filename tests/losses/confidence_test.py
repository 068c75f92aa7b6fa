"""Closed-form divergences against the published values, samples, SciPy and known gradients."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy import optimize, special, stats

from synjax import losses

sigmoid = special.expit
# Compiled, as a step has them: else every operation would be compiled for itself.
compiled = functools.partial(jax.jit, static_argnames="direction")
categorical_kl, bernoulli_kl = compiled(losses.categorical_kl), compiled(losses.bernoulli_kl)
categorical_kl_of_logs = compiled(losses.categorical_kl_of_logs)
gaussian_kl, dirichlet_kl = jax.jit(losses.gaussian_kl), jax.jit(losses.dirichlet_kl)


def test_gaussian_equals_the_published_values(golden, x64):
  arrays, _ = golden("synib_kl")
  for case in ("gaussian_0", "gaussian_1", "gaussian_2"):
    value, grads = jax.jit(jax.value_and_grad(lambda *a: gaussian_kl(*a).mean(), (0, 1)))(
      arrays[f"{case}/mu"], arrays[f"{case}/logvar"]
    )
    np.testing.assert_allclose(value, arrays[f"{case}/value"], rtol=1e-9)
    np.testing.assert_allclose(grads[0], arrays[f"{case}/gmu"], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(grads[1], arrays[f"{case}/glogvar"], rtol=1e-7, atol=1e-12)


def test_dirichlet_equals_the_published_values(golden, x64):
  arrays, _ = golden("synib_kl")
  for case in ("dirichlet_0_1.0", "dirichlet_1_1.0", "dirichlet_2_1.0"):
    value, grad = jax.jit(jax.value_and_grad(lambda a: dirichlet_kl(a).mean()))(
      arrays[f"{case}/alpha"]
    )
    np.testing.assert_allclose(value, arrays[f"{case}/value"], rtol=1e-9)
    np.testing.assert_allclose(grad, arrays[f"{case}/galpha"], rtol=1e-7, atol=1e-12)


def test_reversed_categorical_equals_the_published_anchor(golden, x64):
  arrays, meta = golden("synib_kl")
  for case in ("anchor_0", "anchor_1", "anchor_2"):
    target = jnp.asarray(arrays[f"{case}/pred_target"])

    def anchored(logits, target=target, weight=meta[case]["weight"]):
      kl = categorical_kl(logits, jax.nn.softmax(target), direction="r||q")
      return weight * kl.mean()

    value, grad = jax.jit(jax.value_and_grad(anchored))(arrays[f"{case}/pred_masked"])
    np.testing.assert_allclose(value, arrays[f"{case}/value"], rtol=1e-9)
    np.testing.assert_allclose(grad, arrays[f"{case}/gmasked"], rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("direction", ["q||r", "r||q"])
@pytest.mark.parametrize("reference", ["uniform", "shared", "own"])
def test_categorical_equals_relative_entropy(direction, reference, x64):
  rng = np.random.default_rng(0)
  logits = 3 * rng.normal(size=(6, 4))
  probs = special.softmax(logits, axis=1)
  r = {"uniform": np.full(4, 0.25), "shared": rng.dirichlet(np.ones(4))}.get(reference)
  r = rng.dirichlet(np.ones(4), size=6) if r is None else r
  expected = special.rel_entr(*((probs, r) if direction == "q||r" else (r, probs))).sum(1)
  given = None if reference == "uniform" else r
  got = categorical_kl(logits, given, direction=direction)
  np.testing.assert_allclose(got, expected, rtol=1e-11)
  if direction == "q||r" and reference == "uniform":
    np.testing.assert_allclose(got, np.log(4) - stats.entropy(probs, axis=1), rtol=1e-11)
  check_grads(lambda f: categorical_kl(f, given, direction=direction), (logits,), 1)


def test_categorical_with_zeros():
  logits = jnp.array([[0.0, 1.0, 2.0], [0.0, 1.0, -jnp.inf]])
  r = jnp.array([0.25, 0.75, 0.0])
  probs = special.softmax(np.asarray(logits, float), axis=1)
  np.testing.assert_allclose(
    categorical_kl(logits, r), special.rel_entr(probs, r).sum(1), atol=2e-7
  )
  assert np.isinf(categorical_kl(logits, r)[0])
  np.testing.assert_allclose(
    categorical_kl(logits, r, direction="r||q"), special.rel_entr(r, probs).sum(1), atol=2e-7
  )
  # The row whose q is 0 where r is 0 is an ordinary two-class problem, in its gradient as well.
  for direction in ("q||r", "r||q"):
    grad = jax.jit(jax.grad(lambda f, d=direction: categorical_kl(f, r, direction=d)[1]))(logits)
    pair = jax.jit(jax.grad(lambda f, d=direction: categorical_kl(f, r[:2], direction=d)[0]))(
      logits[1:, :2]
    )
    np.testing.assert_allclose(grad[1], [*pair[0], 0.0], rtol=1e-5)
  grad = jax.jit(jax.grad(lambda f: categorical_kl(f, r, direction="r||q")[0]))(logits)
  np.testing.assert_allclose(grad[0], probs[0] - r, rtol=1e-5)


def test_a_reference_too_small_for_a_float_counts_by_its_logarithm():
  log_r = np.array([[0.0, -300.0, -2.0]])
  log_r = log_r - special.logsumexp(log_r, axis=1, keepdims=True)
  logits = jnp.array([[1.0, 0.0, -1.0]])
  log_q = special.log_softmax(np.asarray(logits, float), axis=1)
  expected = {"q||r": np.exp(log_q) * (log_q - log_r), "r||q": np.exp(log_r) * (log_r - log_q)}
  for direction, terms in expected.items():
    call = lambda f, d=direction: categorical_kl_of_logs(f, log_r, direction=d)[0]  # noqa: E731
    value, gradient = jax.jit(jax.value_and_grad(call))(logits)
    np.testing.assert_allclose(value, terms.sum(), rtol=1e-6)
    assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0.1


@pytest.mark.parametrize("direction", ["q||r", "r||q"])
def test_no_gradient_reaches_the_reference(direction):
  logits = jnp.array([[0.3, -1.0]])
  grad = jax.jit(jax.grad(lambda r: categorical_kl(logits, r, direction=direction).sum()))(
    jnp.array([0.2, 0.8])
  )
  np.testing.assert_array_equal(grad, np.zeros(2))


def test_bernoulli_is_the_two_class_case_with_the_gradient_of_the_paper(x64):
  f = np.linspace(-9, 9, 19)
  pair = np.stack([f, 0 * f], axis=1)
  p = sigmoid(f)
  expected = {"q||r": f * p * (1 - p), "r||q": p - 0.5}
  for direction in ("q||r", "r||q"):
    kl, pull_back = jax.vjp(lambda f, d=direction: bernoulli_kl(f, direction=d), f)
    two_class = categorical_kl(pair, direction=direction)
    np.testing.assert_allclose(kl, two_class, rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(
      pull_back(np.ones_like(f))[0], expected[direction], rtol=1e-9, atol=1e-15
    )


def test_bernoulli_needs_no_clamp():
  f = jnp.array([-1e30, -200.0, -20.0, 20.0, 200.0, 1e30])
  value, grad = jax.vmap(jax.value_and_grad(lambda f: bernoulli_kl(f[None])[0]))(f)
  np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
  np.testing.assert_allclose(grad, [0, 0, -20 * sigmoid(-20), 20 * sigmoid(-20), 0, 0], rtol=1e-5)
  reverse = bernoulli_kl(f, direction="r||q")
  np.testing.assert_allclose(reverse, np.abs(np.asarray(f)) / 2 - np.log(2), rtol=1e-6)


def monte_carlo(log_ratio):
  """Mean and five standard errors of samples of log q - log r."""
  return log_ratio.mean(), 5 * log_ratio.std() / np.sqrt(len(log_ratio))


def test_divergences_are_means_of_sampled_log_ratios():
  rng, draws = np.random.default_rng(0), 100_000
  probs = np.array([0.7, 0.2, 0.1])
  drawn = rng.choice(3, size=draws, p=probs)
  mean, bound = monte_carlo(np.log(probs[drawn]) - np.log(1 / 3))
  assert abs(categorical_kl(np.log(probs)[None])[0] - mean) < bound

  mu, log_variance = np.array([0.5, -1.0]), np.array([-0.7, 0.4])
  drawn = mu + np.exp(log_variance / 2) * rng.normal(size=(draws, 2))
  log_ratio = stats.norm.logpdf(drawn, mu, np.exp(log_variance / 2)) - stats.norm.logpdf(drawn)
  mean, bound = monte_carlo(log_ratio.sum(1))
  assert abs(gaussian_kl(mu[None], log_variance[None])[0] - mean) < bound

  alpha = np.array([2.5, 1.2, 0.8])
  drawn = rng.dirichlet(alpha, size=draws)
  flat = stats.dirichlet(np.ones(3)).logpdf(np.ones(3) / 3)
  mean, bound = monte_carlo(stats.dirichlet(alpha).logpdf(drawn.T) - flat)
  assert abs(dirichlet_kl(alpha[None])[0] - mean) < bound


def test_a_huge_log_variance_is_a_large_penalty_whose_gradient_points_down():
  log_variance = jnp.array([[29.0, -50.0], [80.0, 0.0], [300.0, 0.0]])
  mean = jnp.zeros((3, 2))
  value, gradient = jax.jit(jax.value_and_grad(lambda s: gaussian_kl(mean, s).sum()))(log_variance)
  first = gaussian_kl(mean, log_variance)[0]
  np.testing.assert_allclose(first, (math.exp(29) - 1 - 29 - 1 + 50) / 2, rtol=1e-5)
  assert np.isfinite(value) and np.isfinite(np.square(gradient)).all()
  assert (
    np.asarray(gradient)[1:, 0] > 1e12
  ).all()  # e^89 is infinite: once the end of a run at step 0


def test_divergence_of_the_reference_itself_is_zero():
  np.testing.assert_array_equal(bernoulli_kl(jnp.zeros(3)), np.zeros(3))
  np.testing.assert_array_equal(gaussian_kl(jnp.zeros((3, 4)), jnp.zeros((3, 4))), np.zeros(3))
  np.testing.assert_allclose(categorical_kl(jnp.full((3, 5), 2.0)), np.zeros(3), atol=3e-7)
  np.testing.assert_allclose(dirichlet_kl(jnp.ones((3, 5))), np.zeros(3), atol=3e-6)


@pytest.mark.parametrize(
  ("weight", "logit", "prob", "cross_entropy"),
  # docs/spec/synib.md 1.8, to its digits
  [(0.1, None, None, 0.0065), (1, 0.739, 0.677, 0.3905), (10, 0.0954, 0.524, 0.6466)]
  + [(100, None, None, 0.6882)],
)
def test_penalising_the_clean_input_has_the_analytic_optimum(
  weight, logit, prob, cross_entropy, x64
):
  objective = jax.jit(lambda f: jnp.logaddexp(0.0, -f) + 2 * weight * bernoulli_kl(f[None])[0])
  best = optimize.minimize_scalar(objective, (0.0, 1.0), options={"xtol": 1e-10}).x
  assert abs(2 * weight * best * sigmoid(best) - 1) < 1e-5
  assert abs(np.logaddexp(0, -best) - cross_entropy) < 6e-5
  if logit is not None:
    assert abs(best - logit) < 6e-4 and abs(sigmoid(best) - prob) < 6e-4


def test_half_precision_inputs_give_float32_statistics():
  rng = np.random.default_rng(0)
  logits = jnp.asarray(8 * rng.normal(size=(4, 6)), jnp.bfloat16)
  wide = logits.astype(jnp.float32)
  calls = {
    "categorical": lambda x: categorical_kl(x),
    "bernoulli": lambda x: bernoulli_kl(x[:, 0]),
    "gaussian": lambda x: gaussian_kl(x, x / 8),
    "dirichlet": lambda x: dirichlet_kl(jnp.abs(x)),
  }
  for name, call in calls.items():
    assert call(logits).dtype == jnp.float32, name
    np.testing.assert_array_equal(call(logits), call(wide), err_msg=name)


def test_bad_arguments_are_refused():
  with pytest.raises(ValueError, match=r"q\|\|r"):
    categorical_kl(jnp.zeros((2, 3)), direction="forward")
  with pytest.raises(ValueError, match=r"q\|\|r"):
    bernoulli_kl(jnp.zeros(2), direction="forward")
  with pytest.raises(ValueError, match=r"\(2, 3\)"):
    categorical_kl(jnp.zeros((2, 3)), jnp.ones((2, 1)))
  with pytest.raises(ValueError, match="logits"):
    categorical_kl(jnp.zeros(3))
  with pytest.raises(ValueError, match="logits"):
    bernoulli_kl(jnp.zeros((3, 1)))
  with pytest.raises(ValueError, match="log_variance"):
    gaussian_kl(jnp.zeros((2, 3)), jnp.zeros(3))
  with pytest.raises(ValueError, match="concentration"):
    dirichlet_kl(jnp.ones(3))
