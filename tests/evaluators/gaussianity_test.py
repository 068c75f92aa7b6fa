"""Statistics against closed forms and scipy; scores against single masked views in float64."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from synjax import methods
from synjax.evaluators import gaussianity as module
from synjax.evaluators.estimators import normality
from synjax.evaluators.estimators.normality import gaussian_reference, gaussianity
from synjax.evaluators.gaussianity import masked_scores
from synjax.methods import Info
from tests import tiny

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


@pytest.fixture(scope="module")
def prepared():
  """(method, params, model_state, dataset) with running statistics that are not the initial ones."""
  config = tiny.get_config("infmasking")
  dataset = tiny.load_dataset(config)
  method = methods.create(config, dataset)
  batch = {name: dataset.test.arrays[name][:2] for name in dataset.modalities}
  params, model_state = jax.jit(method.init)(jax.random.key(0), batch)
  params = jax.tree.map(lambda x: 3 * x, params)  # fresh models hardly tell masked views apart
  rng = np.random.default_rng(0)
  model_state = jax.tree.map(lambda x: x + 0.2 * rng.uniform(-1, 1, x.shape), model_state)
  return method, params, model_state, dataset


def batch_of(dataset, rows):
  return {name: jnp.asarray(dataset.test.arrays[name][rows]) for name in dataset.modalities}


def unit(x):
  x = np.asarray(x, np.float64)
  return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_scores_are_cosines_of_single_masked_views_over_the_temperature(prepared):
  method, params, model_state, dataset = prepared
  variables, rows, num_masks = {"params": params, **model_state}, np.arange(4), 5
  batch, key = batch_of(dataset, rows), jax.random.key(3)
  found = jax.jit(
    lambda batch: masked_scores(method, params, model_state, batch, num_masks=num_masks, key=key)
  )(batch)

  def head(model, x):
    return model.head(x, train=False)

  anchor = unit(
    method.model.apply(variables, method.embed(params, model_state, batch), method=head)
  )
  expected = []
  for pass_key in jax.random.split(key, 3):  # two views a pass
    info = Info(step=0, progress=1, key=pass_key, index=rows)
    keep, _ = method.sample_keep("gaussianity", info, [6, 5], None)
    for one_view in keep:
      tokens, _ = method.model.apply(variables, batch, method="tokens")
      _, views = method.model.apply(variables, tokens, one_view[None], method="fuse")
      projected = unit(method.model.apply(variables, views[0], method=head))
      expected.append((anchor * projected).sum(-1) / method.temperature)
  np.testing.assert_allclose(found, np.array(expected)[:num_masks].T, rtol=2e-4, atol=2e-4)
  assert found.dtype == jnp.float32
  assert (np.std(found, axis=1) > 1e-2).all()


@pytest.mark.parametrize("lengths", [(5, 5, 5, 5), (5, 3, 1, 4)])
def test_nothing_masked_is_the_anchor_itself(prepared, monkeypatch, lengths):
  method, params, model_state, dataset = prepared
  batch = batch_of(dataset, np.arange(4))
  batch["series_valid"] = jnp.arange(5) < jnp.array(lengths)[:, None]
  monkeypatch.setattr(method, "config", tiny.get_config(**{"method.mask_ratio": 0.0}))
  found = masked_scores(method, params, model_state, batch, num_masks=3, key=jax.random.key(0))
  np.testing.assert_allclose(found, np.full((4, 3), 10.0), rtol=1e-5)  # temperature 0.1


def test_masks_of_an_example_depend_on_key_and_position_alone(prepared):
  method, params, model_state, dataset = prepared

  def split(batch_size):
    function = module.make_split_scores(method, dataset, num_masks=5, batch_size=batch_size)
    return function(params, model_state, dataset.test)

  found = split(16)
  assert found.shape == (40, 5)
  np.testing.assert_allclose(split(7), found, rtol=1e-4, atol=1e-4)
  rows = np.array([31, 2])
  few = jax.jit(
    lambda key: masked_scores(
      *(method, params, model_state, batch_of(dataset, rows)),
      num_masks=5,
      key=key,
      index=jnp.asarray(rows),
    )
  )
  np.testing.assert_allclose(few(jax.random.key(0)), found[rows], rtol=1e-4, atol=1e-4)
  assert np.abs(few(jax.random.key(1)) - found[rows]).max() > 0.1


def test_what_padding_holds_does_not_matter(prepared):
  method, params, model_state, dataset = prepared
  batch = batch_of(dataset, np.arange(4))
  valid = jnp.arange(5) < jnp.array([5, 3, 1, 4])[:, None]
  scores = jax.jit(
    lambda fill: masked_scores(
      *(method, params, model_state),
      {
        **batch,
        "series": jnp.where(valid[..., None], batch["series"], fill),
        "series_valid": valid,
      },
      num_masks=4,
      key=jax.random.key(0),
    )
  )
  np.testing.assert_allclose(scores(0.0), scores(5.0), rtol=1e-5)
  assert np.median(np.std(scores(0.0), axis=1)) > 0.1


def test_errors_name_what_is_wrong(prepared):
  method, params, model_state, dataset = prepared
  batch, key = batch_of(dataset, np.arange(2)), jax.random.key(0)
  with pytest.raises(ValueError, match="num_masks"):
    masked_scores(method, params, model_state, batch, num_masks=0, key=key)
  comm = methods.create(tiny.get_config("comm"), dataset)
  with pytest.raises(ValueError, match="found CoMM"):
    masked_scores(comm, params, model_state, batch, num_masks=2, key=key)
  made = dataclasses.replace(dataset.test, generate=lambda trial: {})
  function = module.make_split_scores(method, dataset, num_masks=2, batch_size=4)
  with pytest.raises(ValueError, match="generated"):
    function(params, model_state, made)
