import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from synjax import losses


def cases(golden, name):
  arrays, meta = golden(name)
  for case, parameters in meta.items():
    prefix = f"{case}/"
    yield parameters, {k[len(prefix) :]: arrays[k] for k in arrays.files if k.startswith(prefix)}


def test_nt_xent_and_its_gradient_equal_the_published_values(golden, x64):
  for parameters, case in cases(golden, "infonce"):
    value, grads = jax.value_and_grad(
      lambda a, b, t=parameters["temperature"]: losses.nt_xent(a, b, temperature=t).mean(), (0, 1)
    )(case["z1"], case["z2"])
    np.testing.assert_allclose(value, case["loss"], rtol=1e-9)
    np.testing.assert_allclose(grads[0], case["g1"], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(grads[1], case["g2"], rtol=1e-7, atol=1e-12)
    accuracy = 100 * losses.retrieval_accuracy(case["z1"], case["z2"])
    np.testing.assert_allclose(accuracy, case["ssl_acc"], rtol=1e-6)


def test_nt_xent_in_float32_stays_close_to_the_published_value(golden):
  for parameters, case in cases(golden, "infonce"):
    a, b = (jnp.asarray(case[k], jnp.float32) for k in ("z1", "z2"))
    value = jax.jit(lambda a, b, t=parameters["temperature"]: losses.nt_xent(a, b, temperature=t))(
      a, b
    )
    # A loss near 0 is the difference of two numbers of size 1 / temperature, each rounded to float32.
    rounding = np.finfo(np.float32).eps / parameters["temperature"]
    np.testing.assert_allclose(value.mean(), case["loss"], rtol=3e-4, atol=rounding)


def test_identical_rows_give_log_of_the_number_of_candidates(x64):
  same = jnp.ones((5, 3))
  np.testing.assert_allclose(
    losses.nt_xent(same, same, temperature=0.3), np.log(2 * 5 - 1), rtol=1e-12
  )


def test_nt_xent_is_symmetric_in_views_and_blind_to_length_and_order(x64):
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(2, 6, 4))
  value = losses.nt_xent(a, b, temperature=0.2)
  np.testing.assert_allclose(losses.nt_xent(b, a, temperature=0.2), value, rtol=1e-12)
  scale = rng.uniform(0.1, 9, size=(6, 1))
  np.testing.assert_allclose(losses.nt_xent(scale * a, b, temperature=0.2), value, rtol=1e-12)
  order = rng.permutation(6)
  np.testing.assert_allclose(
    losses.nt_xent(a[order], b[order], temperature=0.2), value[order], rtol=1e-12
  )


def test_normalize_has_a_finite_gradient_at_zero():
  gradient = jax.grad(lambda x: losses.normalize(x).sum())(jnp.zeros(3))
  assert np.isfinite(gradient).all()


def test_nt_xent_survives_a_batch_of_one_and_a_tiny_temperature():
  a = jnp.array([[1.0, 2.0]])
  assert losses.nt_xent(a, a, temperature=0.1) == pytest.approx(0, abs=1e-6)
  rng = np.random.default_rng(1)
  a, b = rng.normal(size=(2, 4, 3)).astype(np.float32)
  value, gradient = jax.value_and_grad(lambda a: losses.nt_xent(a, b, temperature=1e-3).sum())(a)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()


def test_gradients_agree_with_finite_differences(x64):
  a, b = np.random.default_rng(2).normal(size=(2, 4, 3))
  check_grads(lambda a, b: losses.nt_xent(a, b, temperature=0.5), (a, b), order=1, modes=("rev",))


def test_comm_terms_equal_brute_force_and_the_published_loss(golden, x64):
  for parameters, case in cases(golden, "infmasking_loss_2mod"):
    terms = losses.comm_terms(case["z1"], case["z2"], temperature=parameters["temperature"])
    published = [case[f"ssl_loss_{i}"] for i in range(2, 5)]
    np.testing.assert_allclose(terms, published, rtol=1e-9)


@pytest.mark.parametrize("function", [losses.nt_xent, losses.comm_terms])
def test_views_of_different_shape_are_refused(function):
  shape = (3, 4) if function is losses.nt_xent else (2, 3, 4)
  with pytest.raises(ValueError, match="equal shape"):
    function(jnp.ones(shape), jnp.ones((*shape[:-1], 5)), temperature=0.1)


def test_examples_that_take_no_part_are_as_if_they_were_not_there(x64):
  rng = np.random.default_rng(0)
  view_a, view_b = rng.normal(size=(2, 3, 7, 5))
  valid = np.array([[1, 0, 1, 1, 1, 0, 1], [0] * 7, [1, 1, 1, 1, 1, 0, 1]], bool)

  def terms(view_a, view_b):
    return losses.comm_terms(view_a, view_b, temperature=0.3, valid=jnp.asarray(valid))

  found = terms(view_a, view_b)
  for subset, rows in enumerate(valid):
    if not rows.any():
      np.testing.assert_array_equal(found[subset], 0)
      continue
    parts = [np.stack([view[subset], view[-1]])[:, rows] for view in (view_a, view_b)]
    expected = losses.comm_terms(*parts, temperature=0.3)[0]
    np.testing.assert_allclose(found[subset], expected, rtol=1e-12)
  # Neither value nor gradient knows what stands in the place of those left out.
  out = jax.grad(lambda a, b: terms(a, b).sum(), (0, 1))(view_a, view_b)
  outside = ~valid & ~valid[-1]
  for gradient in out:
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[outside], 0)
  garbage = np.where(outside[..., None], 100 * rng.normal(size=view_a.shape), view_a)
  np.testing.assert_array_equal(terms(garbage, view_b), found)
  own = losses.retrieval_accuracy(view_a[0], view_a[0] + 0.01, jnp.asarray(valid[0]))
  np.testing.assert_allclose(own, 1)
  np.testing.assert_array_equal(
    losses.retrieval_accuracy(view_a[0], view_b[0], jnp.asarray(valid[1])), 0
  )
