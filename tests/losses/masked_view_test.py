import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from synjax import losses
from tests.losses.contrastive_test import cases

masked_view_bound = jax.jit(losses.masked_view_bound)  # else each operation is compiled for itself


def test_bound_and_its_gradient_equal_the_published_values(golden, x64):
  def mean(anchor, masks, temperature, rho):
    return masked_view_bound(anchor, masks, temperature=temperature, variance_scale=rho).mean()

  mean_and_gradient = jax.jit(jax.value_and_grad(mean, (0, 1)))
  for parameters, case in cases(golden, "mask_loss"):
    settings = parameters["temperature"], parameters["ratio"]
    value, (anchor_grad, masks_grad) = mean_and_gradient(case["q"], case["masks"], *settings)
    np.testing.assert_allclose(value, case["loss"], rtol=1e-9)
    np.testing.assert_allclose(anchor_grad, case["gq"], rtol=1e-7, atol=1e-11)
    np.testing.assert_allclose(masks_grad, case["gmasks"], rtol=1e-7, atol=1e-11)


def test_bound_equals_the_covariance_form(x64):
  rng = np.random.default_rng(0)
  anchor = rng.normal(size=(5, 7))
  anchor /= np.linalg.norm(anchor, axis=-1, keepdims=True)
  masked = rng.normal(size=(4, 5, 7))
  masked /= np.linalg.norm(masked, axis=-1, keepdims=True)
  temperature, rho = 0.2, 0.7
  expected = []
  for b in range(5):
    mean = masked[:, b].mean(0)
    covariance = np.cov(masked[:, b].T, bias=True) * rho / temperature
    quadratic = anchor[b] @ covariance @ anchor[b]
    positive = anchor[b] @ mean + quadratic / 2
    others = [c for c in range(5) if c != b]
    negatives = [anchor[b] @ masked[k, c] for k in range(4) for c in others]
    negatives += [anchor[b] @ anchor[c] for c in others]
    logits = np.array([positive, *negatives]) / temperature
    expected.append(np.log(np.exp(logits).sum()) - logits[0] + quadratic / 2 / temperature)
  bound = masked_view_bound(anchor, masked, temperature=temperature, variance_scale=rho)
  np.testing.assert_allclose(bound, expected, rtol=1e-12)


def test_bound_is_above_the_monte_carlo_loss_of_gaussian_views(x64):
  # For scores s ~ N(m, v) the bound with rho = 1 is E-inside-the-log by the Gaussian moment formula,
  # so the mean over many views of the one-view loss must not exceed it (Jensen).
  rng = np.random.default_rng(1)
  anchor = np.eye(2)[:1]
  angles = rng.normal(0.8, 0.1, size=4000)
  views = np.stack([np.cos(angles), np.sin(angles)], -1)[:, None]
  other_anchor, other_view = np.array([[0.6, 0.8]]), np.array([[0.0, 1.0]])
  temperature = 0.2
  both = np.concatenate([anchor, other_anchor])
  masked = np.concatenate([views, np.broadcast_to(other_view, views.shape)], axis=1)
  bound = masked_view_bound(both, masked, temperature=temperature, variance_scale=1.0)[0]
  positive = views[:, 0] @ anchor[0] / temperature
  negatives = len(views) * np.exp(anchor[0] @ other_view[0] / temperature)
  negatives += np.exp(anchor[0] @ other_anchor[0] / temperature)
  monte_carlo = np.mean(np.log(np.exp(positive) + negatives) - positive)
  assert bound >= monte_carlo - 1e-9


def test_whole_loss_and_gradients_equal_the_published_values(golden, x64):

  def loss(view_a, view_b, masked_a, masked_b, temperature, rho, weights):
    terms = losses.infmasking_terms(
      view_a, view_b, masked_a, masked_b, temperature=temperature, variance_scale=rho
    )
    return jnp.mean(weights * terms), terms

  loss_and_gradient = jax.jit(jax.value_and_grad(loss, (0, 1, 2, 3), has_aux=True))
  for parameters, case in cases(golden, "infmasking_loss_2mod"):
    if "penalty" in parameters:  # the entropy penalty is a dead option of the published code
      continue
    rho = parameters["mask_lambda"] * (parameters["epoch"] + 1) / parameters["max_epochs"]
    settings = parameters["temperature"], rho, np.array(parameters.get("weights", np.ones(5)))
    crossed = slice(None, None, -1 if parameters.get("cross") else None)
    inputs = [case["z1"], case["z2"], *(case["m1"], case["m2"])[crossed]]
    (value, terms), grads = loss_and_gradient(*inputs, *settings)
    grads = [*grads[:2], *grads[2:][crossed]]
    np.testing.assert_allclose(value, case["loss"], rtol=1e-9)
    np.testing.assert_allclose(terms, [case[f"ssl_loss_{i}"] for i in range(5)], rtol=1e-9)
    for grad, name in zip(grads, ("gz1", "gz2", "gm1", "gm2"), strict=True):
      np.testing.assert_allclose(grad, case[name], rtol=1e-7, atol=1e-11)


def test_order_of_views_and_of_examples_does_not_matter(x64):
  rng = np.random.default_rng(2)
  anchor, masked = (
    losses.normalize(rng.normal(size=(6, 4))),
    losses.normalize(rng.normal(size=(3, 6, 4))),
  )
  bound = masked_view_bound(anchor, masked, temperature=0.1, variance_scale=0.5)
  again = masked_view_bound(anchor, masked[::-1], temperature=0.1, variance_scale=0.5)
  np.testing.assert_allclose(again, bound, rtol=1e-12)
  order = rng.permutation(6)
  again = masked_view_bound(anchor[order], masked[:, order], temperature=0.1, variance_scale=0.5)
  np.testing.assert_allclose(again, bound[order], rtol=1e-12)


def test_gradients_agree_with_finite_differences(x64):
  rng = np.random.default_rng(3)
  inputs = rng.normal(size=(4, 3)), rng.normal(size=(2, 4, 3))
  check_grads(
    lambda q, z: masked_view_bound(q, z, temperature=0.5, variance_scale=1.0),
    inputs,
    order=1,
    modes=("rev",),
  )


def test_wrong_shapes_are_refused():
  with pytest.raises(ValueError, match="num_views >= 1"):
    masked_view_bound(jnp.ones((2, 3)), jnp.ones((2, 3)), temperature=0.1, variance_scale=1)
  with pytest.raises(ValueError, match="num_views >= 1"):
    masked_view_bound(jnp.ones((2, 3)), jnp.ones((0, 2, 3)), temperature=0.1, variance_scale=1)


def test_the_bound_is_that_of_the_examples_that_take_part(x64):
  rng = np.random.default_rng(0)
  anchor, masked = (
    losses.normalize(x) for x in (rng.normal(size=(6, 4)), rng.normal(size=(3, 6, 4)))
  )
  valid = jnp.array([True, False, True, True, False, True])
  options = {"temperature": 0.2, "variance_scale": 0.7}

  def bound(anchor, masked):
    return masked_view_bound(anchor, masked, valid=valid, **options)

  expected = masked_view_bound(anchor[valid], masked[:, valid], **options)
  np.testing.assert_allclose(bound(anchor, masked)[valid], expected, rtol=1e-12)
  np.testing.assert_array_equal(bound(anchor, masked)[~valid], 0)
  grads = jax.jit(jax.grad(lambda *x: bound(*x).sum(), (0, 1)))(anchor, masked)
  np.testing.assert_array_equal(grads[0][~valid], 0)
  np.testing.assert_array_equal(grads[1][:, ~valid], 0)
