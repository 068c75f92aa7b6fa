"""The rules of balancing methods: published numbers, closed forms, brute force and their properties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.methods import balancing
from synjax.methods.balancing_rules import cluster_purity
from tests.golden.recipe import recipe
from tests.methods.balancing.published import cross_entropy, network

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def published(golden):
  return golden("synib_baselines")


# OGM-GE


def test_ogm_damps_the_modality_that_is_ahead_by_the_published_coefficient():
  scores = RNG.uniform(0.1, 0.9, (2, 9))
  scores[0] += 0.3
  ratio = scores[0].sum() / scores[1].sum()
  found = balancing.ogm_coefficients(jnp.asarray(scores), 0.8)
  np.testing.assert_allclose(found, [1 - np.tanh(0.8 * ratio), 1], rtol=1e-5)
  mirrored = balancing.ogm_coefficients(jnp.asarray(scores[::-1]), 0.8)
  np.testing.assert_array_equal(mirrored, found[::-1])


@pytest.mark.parametrize(
  "scores", [np.ones((2, 4)), np.zeros((2, 4)), np.zeros((3, 0)), np.full((1, 4), 0.5)]
)
def test_ogm_damps_nothing_where_nothing_is_ahead(scores):
  np.testing.assert_array_equal(balancing.ogm_coefficients(jnp.asarray(scores), 0.8), 1)


def test_ogm_compares_several_modalities_with_the_mean_of_the_others_and_alpha_0_is_off():
  scores = RNG.uniform(0.1, 0.9, (3, 8))
  sums = scores.sum(1)
  ratio = np.array([sums[i] / np.delete(sums, i).mean() for i in range(3)])
  expected = np.where(ratio > 1, 1 - np.tanh(0.5 * ratio), 1)
  np.testing.assert_allclose(balancing.ogm_coefficients(jnp.asarray(scores), 0.5), expected, 1e-5)
  np.testing.assert_array_equal(balancing.ogm_coefficients(jnp.asarray(scores), 0.0), 1)
  alone = balancing.ogm_coefficients(jnp.array([[0.4], [0.0]]), 1.0)  # infinitely far ahead
  np.testing.assert_array_equal(alone, [0, 1])
  slope = jax.jit(jax.grad(lambda s: balancing.ogm_coefficients(s, 0.5).sum()))(jnp.asarray(scores))
  np.testing.assert_array_equal(slope, 0)


# MMPareto


def test_pareto_weights_are_the_published_solvers_where_gradients_disagree(published, x64):
  arrays, meta = published
  disagreeing = [case for case in meta if case.startswith("minnorm2") and meta[case]["cos"] <= 0]
  assert len(disagreeing) >= 5
  for case in disagreeing:
    g0, gi = arrays[f"{case}/v"]
    c0, ci = balancing.pareto_weights(jnp.asarray(g0), jnp.asarray(gi))
    np.testing.assert_allclose([c0, ci], 2 * arrays[f"{case}/sol"], rtol=1e-9)
    length = np.square((c0 * g0 + ci * gi) / 2).sum()
    np.testing.assert_allclose(length, arrays[f"{case}/min_norm"], rtol=1e-7, atol=1e-12)


def test_pareto_weights_follow_both_losses_whatever_the_gradients(x64):
  weights = jax.jit(jax.vmap(balancing.pareto_weights))
  g0, gi = (jnp.asarray(RNG.normal(size=(2000, 3)) * RNG.lognormal(size=(2000, 1))) for _ in "ab")
  c0, ci = weights(g0, gi)
  product = (g0 * gi).sum(1)
  np.testing.assert_allclose(c0 + ci, 2, rtol=1e-12)
  np.testing.assert_array_equal(c0[product > 0], 1)
  h = c0[:, None] * g0 + ci[:, None] * gi
  assert ((h * g0).sum(1) > -1e-9).all() and ((h * gi).sum(1) > -1e-9).all()
  # The shortest vector between the two, by a fine grid of weights.
  grid = np.linspace(0, 1, 2001)[:, None, None]
  shortest = np.linalg.norm(grid * g0[:40] + (1 - grid) * gi[:40], axis=2).min(0)
  opposed = np.asarray(product[:40] <= 0)
  np.testing.assert_allclose(
    np.linalg.norm(h[:40], axis=1)[opposed] / 2, shortest[opposed], rtol=1e-3
  )


def test_pareto_weights_without_a_gradient_are_finite():
  zero, one = jnp.zeros(3), jnp.ones(3)
  np.testing.assert_array_equal(balancing.pareto_weights(zero, zero), (1, 1))
  np.testing.assert_allclose(balancing.pareto_weights(one, zero), (0.002, 1.998), rtol=1e-6)
  np.testing.assert_array_equal(balancing.pareto_weights(-one, one), (1, 1))


# Diagnosing & Re-learning


def published_solver(g0, gi):
  """Weights of the shortest vector as the published solver clamps them, float64, times 2."""
  a, ab, b = g0 @ g0, g0 @ gi, gi @ gi
  if ab > 0:
    return 1.0, 1.0
  c = 0.999 if ab >= a else 0.001 if ab >= b else (b - ab) / (a + b - 2 * ab)
  return 2 * c, 2 * (1 - c)


@pytest.mark.parametrize("scale", [1e-25, 1e-12, 1.0, 1e12, 1e25])
def test_pareto_weights_are_the_published_solvers_for_lengths_whose_squares_float32_cannot_hold(
  scale,
):
  g0 = np.array([0.3, -0.4, 0.5], np.float32)
  for gi in (-0.1 * g0, np.array([0.4, 0.3, 0.0], np.float32) * 1e-3, 0 * g0):
    for first, second in ((g0, gi), (gi, g0)):
      found = balancing.pareto_weights(scale * first, scale * second)
      expected = published_solver(first.astype(float), second.astype(float))
      np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def test_alpha_0_damps_nothing_even_where_the_others_know_nothing():
  scores = jnp.array([[1.0] * 8, [0.0] * 8])
  np.testing.assert_array_equal(balancing.ogm_coefficients(scores, 0.0), [1, 1])
  np.testing.assert_allclose(balancing.ogm_coefficients(scores, 0.5), [0, 1], atol=1e-6)


def test_purity_and_strength_are_the_published_ones(published):
  arrays, meta = published
  rows = {
    split: {m: balancing.kmeans_purity(arrays[f"dnr_score/{split}_{m}"],
      arrays[f"dnr_score/y_{split}"], 3) for m in "cg"}
    for split in ("train", "val")
  }  # fmt: skip
  purity = arrays["dnr_score/purity"]
  np.testing.assert_allclose(
    [rows["train"]["c"], rows["val"]["g"], rows["train"]["g"], rows["val"]["g"]], purity, rtol=1e-9
  )
  lam = meta["dnr_score"]["alpha"]
  for name, (train, val) in {"audio": purity[:2], "visual": purity[2:]}.items():
    found = balancing.reset_strength(train, val, lam)
    np.testing.assert_allclose(found, arrays[f"dnr_score/weight_{name}"], rtol=1e-9)
  case = "dnr_purity"
  found = cluster_purity(arrays[f"{case}/y_pred"], arrays[f"{case}/y_true"])
  np.testing.assert_allclose(found, arrays[f"{case}/purity"], rtol=1e-12)
  other = cluster_purity(3 - arrays[f"{case}/y_pred"], 2 * arrays[f"{case}/y_true"] + 1)
  np.testing.assert_allclose(other, arrays[f"{case}/purity_labels_2y1"], rtol=1e-12)


def test_purity_of_one_hot_features_is_1_and_of_nothing_the_majority():
  labels = np.array([0, 1, 2, 2, 1, 0, 2])
  assert balancing.kmeans_purity(np.eye(3)[labels], labels, 3) == 1
  assert balancing.kmeans_purity(np.ones((7, 2)), labels, 3) == 3 / 7  # all alike
  features = RNG.normal(size=(30, 2)) * [1, 1e4]  # scaled: the second dimension does not drown it
  features[:15, 0] += 60
  assert balancing.kmeans_purity(features, np.arange(30) < 15, 2) == 1


def test_strength_is_0_without_a_gap_and_symmetric():
  np.testing.assert_array_equal(balancing.reset_strength(np.array([0.5, 1]), [0.5, 1], 3.0), 0)
  assert balancing.reset_strength(0.9, 0.5, 3.0) == balancing.reset_strength(0.5, 0.9, 3.0)
  np.testing.assert_allclose(balancing.reset_strength(1.0, 0.0, 40.0), 1, atol=1e-12)


# ReconBoost


@pytest.mark.parametrize(("case", "branch"), [("reconboost_epoch0", 0), ("reconboost_epoch6", 1)])
def test_a_boosting_step_is_the_published_one(published, case, branch, x64):
  arrays, meta = published
  shapes = {n.split("/", 2)[2]: arrays[n].shape for n in arrays if n.startswith(f"{case}/after/")}
  start = recipe(shapes, meta[case]["recipe_seed"])
  params, labels = {n: jnp.asarray(w) for n, w in start.items()}, jnp.asarray(arrays[f"{case}/y"])

  def loss(params):
    alone, fused = network(params, arrays, case)
    w1, w2 = meta[case]["weight1"], meta[case]["weight2"]
    weights = balancing.boosting_weights(jax.nn.softmax(fused), labels, w1, w2)
    return (weights * cross_entropy(alone[branch], labels)[:, 0]).mean()

  value, gradient = jax.jit(jax.value_and_grad(loss))(params)
  np.testing.assert_allclose(value, arrays[f"{case}/recon"], rtol=1e-8)
  for name, g in gradient.items():
    found = params[name] - meta[case]["lr"] * g
    np.testing.assert_allclose(found, arrays[f"{case}/after/{name}"], rtol=1e-7, atol=1e-10)


def test_boosting_weights_without_reconcilement_are_w1_over_classes_and_constants():
  q, labels = jax.nn.softmax(jnp.asarray(RNG.normal(size=(5, 4)))), jnp.array([0, 1, 2, 3, 1])
  np.testing.assert_allclose(balancing.boosting_weights(q, labels, 5.0, 0.0), 5 / 4)
  found = balancing.boosting_weights(q, labels, 5.0, 2.0)
  np.testing.assert_allclose(found, (5 - 2 * np.asarray(q)[range(5), labels]) / 4, rtol=1e-6)
  slope = jax.jit(jax.grad(lambda q: balancing.boosting_weights(q, labels, 5.0, 2.0).sum()))(q)
  np.testing.assert_array_equal(slope, 0)


# MCR


@pytest.mark.parametrize("case", ["mcr_greedy", "mcr_ind", "mcr_colab"])
def test_divergences_are_the_published_ones(published, case, x64):
  arrays, meta = published
  terms = dict(zip(meta[case]["terms"], arrays[f"{case}/terms"], strict=True))
  logits = {"enc0_p0": "sa_detv", "enc1_p0": "sa_deta", "enc0_p1": "sv_detv", "enc1_p1": "sv_deta"}
  logits |= {"all_p0": "sa", "all_p1": "sv"}
  clean = jnp.asarray(arrays[f"{case}/ncombined"])
  for term, name in logits.items():
    found = balancing.jensen_shannon(jnp.asarray(arrays[f"{case}/{name}"]), clean)
    np.testing.assert_allclose(found.mean(), terms[f"{term}_pred"], rtol=1e-9)


def test_jensen_shannon_is_symmetric_bounded_and_finite_at_extremes():
  p, q = (jnp.asarray(RNG.normal(size=(6, 3))) for _ in "pq")
  found = balancing.jensen_shannon(p, q)
  np.testing.assert_allclose(found, balancing.jensen_shannon(q, p), rtol=1e-5)
  one, two = (np.asarray(jax.nn.softmax(x), np.float64) for x in (p, q))
  middle = (one + two) / 2
  expected = 0.5 * (one * np.log(one / middle) + two * np.log(two / middle)).sum(1)
  np.testing.assert_allclose(found, expected, rtol=1e-4)
  np.testing.assert_allclose(balancing.jensen_shannon(p, p + 7), 0, atol=1e-6)
  far = jnp.array([[300.0, -300.0]])
  np.testing.assert_allclose(balancing.jensen_shannon(far, -far), np.log(2), rtol=1e-6)
  slope = jax.jit(jax.grad(lambda x: balancing.jensen_shannon(x, -x).sum()))(far)
  assert np.isfinite(slope).all()


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: balancing.ogm_coefficients(np.ones(3), 1.0), r"\[modalities, batch\], found \[3\]"),
    (lambda: balancing.pareto_weights(np.ones(3), np.ones(2)), r"found \[3\] and \[2\]"),
    (lambda: balancing.kmeans_purity(np.ones((3, 2)), np.ones(2), 2), r"labels \[2\]"),
    (lambda: balancing.kmeans_purity(np.ones((3, 2)), np.ones(3), 4), "of at least 4 examples"),
    (lambda: balancing.kmeans_purity(np.full((3, 2), np.nan), np.ones(3), 2), "finite"),
    (
      lambda: balancing.boosting_weights(np.ones((3, 2)), np.ones(2, int), 1, 1),
      r"\[3, 2\] and \[2\]",
    ),
    (lambda: balancing.jensen_shannon(np.ones((3, 2)), np.ones((3, 4))), r"\[3, 2\] and \[3, 4\]"),
  ],
)
def test_arrays_that_do_not_fit_are_refused_with_their_shapes(call, message):
  with pytest.raises(ValueError, match=message):
    call()
