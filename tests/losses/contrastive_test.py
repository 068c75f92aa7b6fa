import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from synjax import losses

# Compiled, as a step has them: else every operation would be compiled for itself.
nt_xent, clip_loss, sup_con = map(jax.jit, (losses.nt_xent, losses.clip_loss, losses.sup_con))
comm_terms, pairwise_nt_xent = map(jax.jit, (losses.comm_terms, losses.pairwise_nt_xent))
retrieval_accuracy = jax.jit(losses.retrieval_accuracy)

LABELS = np.array([0, 1, 0, 2, 1, 0, 3])  # 2 and 3: alone in their class
VALID = np.array([True, True, False, True, False, True, True])


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


def cases(golden, name):
  arrays, meta = golden(name)
  for case, parameters in meta.items():
    prefix = f"{case}/"
    yield parameters, {k[len(prefix) :]: arrays[k] for k in arrays.files if k.startswith(prefix)}


def test_nt_xent_and_its_gradient_equal_the_published_values(golden, x64):
  mean = jax.jit(jax.value_and_grad(lambda a, b, t: nt_xent(a, b, temperature=t).mean(), (0, 1)))
  for parameters, case in cases(golden, "infonce"):
    value, grads = mean(case["z1"], case["z2"], parameters["temperature"])
    np.testing.assert_allclose(value, case["loss"], rtol=1e-9)
    np.testing.assert_allclose(grads[0], case["g1"], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(grads[1], case["g2"], rtol=1e-7, atol=1e-12)
    accuracy = 100 * retrieval_accuracy(case["z1"], case["z2"])
    np.testing.assert_allclose(accuracy, case["ssl_acc"], rtol=1e-6)


def test_nt_xent_in_float32_stays_close_to_the_published_value(golden):
  for parameters, case in cases(golden, "infonce"):
    a, b = (jnp.asarray(case[k], jnp.float32) for k in ("z1", "z2"))
    value = nt_xent(a, b, temperature=parameters["temperature"])
    # A loss near 0 is the difference of two numbers of size 1 / temperature, each rounded to float32.
    rounding = np.finfo(np.float32).eps / parameters["temperature"]
    np.testing.assert_allclose(value.mean(), case["loss"], rtol=3e-4, atol=rounding)


def test_identical_rows_give_log_of_the_number_of_candidates(x64):
  same = jnp.ones((5, 3))
  np.testing.assert_allclose(nt_xent(same, same, temperature=0.3), np.log(2 * 5 - 1), rtol=1e-12)


def test_nt_xent_is_symmetric_in_views_and_blind_to_length_and_order(x64):
  rng = np.random.default_rng(0)
  a, b = rng.normal(size=(2, 6, 4))
  value = nt_xent(a, b, temperature=0.2)
  np.testing.assert_allclose(nt_xent(b, a, temperature=0.2), value, rtol=1e-12)
  scale = rng.uniform(0.1, 9, size=(6, 1))
  np.testing.assert_allclose(nt_xent(scale * a, b, temperature=0.2), value, rtol=1e-12)
  order = rng.permutation(6)
  np.testing.assert_allclose(nt_xent(a[order], b[order], temperature=0.2), value[order], rtol=1e-12)


def test_normalize_has_a_finite_gradient_at_zero():
  gradient = jax.jit(jax.grad(lambda x: losses.normalize(x).sum()))(jnp.zeros(3))
  assert np.isfinite(gradient).all()


def test_nt_xent_survives_a_batch_of_one_and_a_tiny_temperature():
  a = jnp.array([[1.0, 2.0]])
  assert nt_xent(a, a, temperature=0.1) == pytest.approx(0, abs=1e-6)
  rng = np.random.default_rng(1)
  a, b = rng.normal(size=(2, 4, 3)).astype(np.float32)
  value, gradient = jax.jit(jax.value_and_grad(lambda a: nt_xent(a, b, temperature=1e-3).sum()))(a)
  assert np.isfinite(value)
  assert np.isfinite(gradient).all()


def test_gradients_agree_with_finite_differences(x64):
  a, b = np.random.default_rng(2).normal(size=(2, 4, 3))
  check_grads(lambda a, b: nt_xent(a, b, temperature=0.5), (a, b), order=1, modes=("rev",))


def test_comm_terms_equal_brute_force_and_the_published_loss(golden, x64):
  for parameters, case in cases(golden, "infmasking_loss_2mod"):
    terms = comm_terms(case["z1"], case["z2"], temperature=parameters["temperature"])
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
    return comm_terms(view_a, view_b, temperature=0.3, valid=jnp.asarray(valid))

  found = terms(view_a, view_b)
  for subset, rows in enumerate(valid):
    if not rows.any():
      np.testing.assert_array_equal(found[subset], 0)
      continue
    parts = [np.stack([view[subset], view[-1]])[:, rows] for view in (view_a, view_b)]
    expected = comm_terms(*parts, temperature=0.3)[0]
    np.testing.assert_allclose(found[subset], expected, rtol=1e-12)
  # Neither value nor gradient knows what stands in the place of those left out.
  out = jax.jit(jax.grad(lambda a, b: terms(a, b).sum(), (0, 1)))(view_a, view_b)
  outside = ~valid & ~valid[-1]
  for gradient in out:
    assert np.isfinite(gradient).all()
    np.testing.assert_array_equal(gradient[outside], 0)
  garbage = np.where(outside[..., None], 100 * rng.normal(size=view_a.shape), view_a)
  np.testing.assert_array_equal(terms(garbage, view_b), found)
  own = retrieval_accuracy(view_a[0], view_a[0] + 0.01, jnp.asarray(valid[0]))
  np.testing.assert_allclose(own, 1)
  np.testing.assert_array_equal(retrieval_accuracy(view_a[0], view_b[0], jnp.asarray(valid[1])), 0)


def test_clip_equals_a_loop_and_its_gradient_finite_differences(x64, pair):
  for logit_scale in (0.0, np.log(1 / 0.07), np.log(100)):
    value = clip_loss(*pair, logit_scale=logit_scale)
    np.testing.assert_allclose(value, loop_clip(*pair, logit_scale), rtol=1e-11, atol=1e-11)
  mean = lambda a, b, s: clip_loss(a, b, logit_scale=s).mean()  # noqa: E731
  check_grads(mean, (*pair, 0.7), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)


def test_clip_is_symmetric_and_blind_to_length_and_order(x64, pair):
  a, b = pair
  value = clip_loss(a, b, logit_scale=1.0)
  np.testing.assert_allclose(clip_loss(b, a, logit_scale=1.0), value, rtol=1e-12)
  scale = np.random.default_rng(1).uniform(0.1, 9, size=(7, 1))
  np.testing.assert_allclose(clip_loss(scale * a, b, logit_scale=1.0), value, rtol=1e-12)
  order = np.random.default_rng(2).permutation(7)
  permuted = clip_loss(a[order], b[order], logit_scale=1.0)
  np.testing.assert_allclose(permuted, value[order], rtol=1e-12)


def test_clip_of_one_direction_is_the_log_of_the_batch(x64):
  same = jnp.ones((5, 3))
  np.testing.assert_allclose(clip_loss(same, same, logit_scale=2.0), np.log(5), rtol=1e-12)


def test_sup_con_equals_a_loop_and_its_gradient_finite_differences(x64, pair):
  for temperature in (0.07, 0.5):
    value = sup_con(pair[0], LABELS, temperature=temperature)
    np.testing.assert_allclose(value, loop_sup_con(pair[0], LABELS, temperature), rtol=1e-11)
    assert (np.asarray(value)[[3, 6]] == 0).all()
  mean = lambda z: sup_con(z, LABELS, temperature=0.5).mean()  # noqa: E731
  check_grads(mean, (pair[0],), order=1, modes=("rev",), atol=1e-6, rtol=1e-6)


def test_sup_con_of_two_views_an_example_is_nt_xent(x64, pair):
  both, labels = np.concatenate(pair), np.tile(np.arange(7), 2)
  value = sup_con(both, labels, temperature=0.2).mean()
  np.testing.assert_allclose(value, nt_xent(*pair, temperature=0.2).mean(), rtol=1e-12)


def test_sup_con_is_blind_to_length_order_and_names_of_classes(x64, pair):
  value = sup_con(pair[0], LABELS, temperature=0.2)
  scale = np.random.default_rng(1).uniform(0.1, 9, size=(7, 1))
  renamed = sup_con(scale * pair[0], 9 - LABELS, temperature=0.2)
  np.testing.assert_allclose(renamed, value, rtol=1e-12)
  order = np.random.default_rng(2).permutation(7)
  permuted = sup_con(pair[0][order], LABELS[order], temperature=0.2)
  np.testing.assert_allclose(permuted, value[order], rtol=1e-12)


def test_examples_that_are_not_valid_are_as_if_they_were_not_there(x64, pair):
  for function in (
    lambda a, b, y, v: clip_loss(a, b, logit_scale=1.5, valid=v),
    lambda a, b, y, v: sup_con(a, y, temperature=0.2, valid=v),
  ):
    value = np.asarray(function(*pair, LABELS, VALID))
    assert (value[~VALID] == 0).all()
    alone = function(*pair[:, VALID], LABELS[VALID], None)
    np.testing.assert_allclose(value[VALID], alone, rtol=1e-12)
    total = lambda a, b, f=function: f(a, b, LABELS, VALID).sum()  # noqa: E731
    for gradient in jax.jit(jax.grad(total, (0, 1)))(*pair):
      np.testing.assert_array_equal(np.asarray(gradient)[~VALID], 0)


@pytest.mark.parametrize("valid", [None, np.zeros(4, bool), np.arange(4) == 1])
def test_gradients_are_finite_at_zero_vectors_and_where_nobody_takes_part(valid):
  zeros = jnp.zeros((4, 3))
  clip = lambda a, b, s: clip_loss(a, b, logit_scale=s, valid=valid).sum()  # noqa: E731
  labels = jnp.array([0, 0, 1, 1])
  total = lambda z: sup_con(z, labels, temperature=0.1, valid=valid).sum()  # noqa: E731
  found = (
    jax.jit(jax.grad(clip, (0, 1, 2)))(zeros, zeros, 2.0),
    jax.jit(jax.value_and_grad(total))(zeros),
  )
  assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(found))


def test_a_batch_of_one_has_nothing_to_tell_apart():
  one = jnp.ones((1, 3))
  total = lambda z: sup_con(z, jnp.zeros(1, int), temperature=0.1).sum()  # noqa: E731
  value, gradient = jax.jit(jax.value_and_grad(total))(one)
  assert value == 0
  np.testing.assert_array_equal(gradient, 0)
  np.testing.assert_allclose(clip_loss(one, one, logit_scale=1.0), 0, atol=1e-6)


def test_embeddings_that_do_not_fit_are_refused():
  wide = jnp.ones((4, 3))
  with pytest.raises(ValueError, match="clip_loss needs"):
    clip_loss(wide, wide[:3], logit_scale=0.0)
  with pytest.raises(ValueError, match="sup_con needs"):
    sup_con(wide, jnp.zeros(3, int), temperature=1.0)


@pytest.mark.parametrize("case", range(4))
def test_pairwise_nt_xent_is_the_published_one_and_so_is_its_gradient(golden, case, x64):
  arrays, meta = golden("synib_baselines")
  name = f"ntxent_{case}"
  views = [v for v in ("zx", "zy", "zk") if f"{name}/{v}" in arrays]
  embeddings = [jnp.asarray(arrays[f"{name}/{view}"]) for view in views]
  labels = arrays[f"{name}/label"] if meta[name]["labels"] else np.arange(len(embeddings[0]))
  labels = jnp.asarray(np.tile(labels, len(views)))

  def value(embeddings, labels=labels, valid=None):
    rows = jnp.concatenate(embeddings)
    return pairwise_nt_xent(rows, labels, temperature=meta[name]["temperature"], valid=valid)

  found, gradient = jax.jit(jax.value_and_grad(value))(embeddings)
  np.testing.assert_allclose(found, arrays[f"{name}/value"], rtol=1e-9)
  for view, g in zip(views[:2], gradient, strict=False):
    np.testing.assert_allclose(g, arrays[f"{name}/g{view}"], rtol=1e-7, atol=1e-12)
  # Rows that take no part change nothing, also as the only ones of their class.
  more = [*embeddings, jnp.full((2, embeddings[0].shape[1]), 3.0)]
  same = jax.jit(value)(
    more, jnp.append(labels, jnp.array([labels[0], 99])), jnp.arange(len(labels) + 2) < len(labels)
  )
  np.testing.assert_allclose(same, found, rtol=1e-12)


def test_pairwise_nt_xent_of_one_class_or_of_no_pair_is_0_and_has_a_gradient(pair):
  for labels, valid in (
    (jnp.zeros(len(pair[0]), int), None),
    (LABELS, jnp.zeros(len(pair[0]), bool)),
  ):
    mean = lambda z, y=labels, v=valid: pairwise_nt_xent(z, y, temperature=0.5, valid=v)  # noqa: E731
    found, gradient = jax.jit(jax.value_and_grad(mean))(jnp.asarray(pair[0]))
    assert found == 0
    np.testing.assert_array_equal(gradient, 0)
  with pytest.raises(ValueError, match="pairwise_nt_xent needs embeddings"):
    pairwise_nt_xent(jnp.ones((3, 2)), jnp.ones(2), temperature=1.0)
