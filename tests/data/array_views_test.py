"""Views of a user's features against counts and distributions worked out by hand."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from synjax.data import array_views
from synjax.data.sequence_views import sequence_transform

BATCH, OFF = 2000, {"probability": 1.0, "drop_fraction": 0.0, "noise_std": 0.0}


def keys(seed, batch):
  return jax.random.split(jax.random.key(seed), batch)


@functools.cache
def compiled(ndim, pool, options):
  pool = np.asarray(pool, np.float32)
  transform = array_views.array_transform(ndim, pool, **(OFF | dict(options)))
  return jax.jit(transform.augment)


def view(values, pool=((0.0,),), *, seed=1, valid=None, **options):
  augment = compiled(values.ndim, tuple(map(tuple, pool)), tuple(sorted(options.items())))
  return np.asarray(augment(keys(seed, len(values)), jnp.asarray(values, jnp.float32), valid=valid))


def test_swapped_entries_keep_a_features_distribution_and_their_number_is_binomial():
  pool = np.array([[-3.0, 10], [-2, 20], [-1, 30], [-1, 40]])
  values = np.full((BATCH, 2), 7.0)
  found = view(values, pool, swap=0.3)
  swapped = found != 7
  assert stats.binomtest(int(swapped.sum()), 2 * BATCH, 0.3).pvalue > 1e-3
  for feature in range(2):
    values, counts = np.unique(found[swapped[:, feature], feature], return_counts=True)
    own, weight = np.unique(pool[:, feature], return_counts=True)
    np.testing.assert_array_equal(values, own)
    assert stats.chisquare(counts, weight / 4 * counts.sum()).pvalue > 1e-3
  # Entries of an example are swapped apart from each other.
  together = swapped.all(1).mean()
  assert stats.binomtest(int(round(together * BATCH)), BATCH, 0.09).pvalue > 1e-3


def test_dropped_features_are_0_in_every_step_and_scaled_ones_keep_their_shape():
  values = np.random.default_rng(0).uniform(1, 2, (BATCH, 4, 3))
  dropped = view(values, drop_features=0.25) == 0
  np.testing.assert_array_equal(dropped.any(1), dropped.all(1))
  assert stats.binomtest(int(dropped[:, 0].sum()), 3 * BATCH, 0.25).pvalue > 1e-3
  factor = view(values, scale=0.5) / values
  np.testing.assert_allclose(factor, np.broadcast_to(factor[:, :1], factor.shape), rtol=1e-5)
  assert stats.kstest(np.log(factor[:, 0]).ravel() / 0.5, "norm").pvalue > 1e-3


def test_a_crop_leaves_consecutive_steps_of_what_is_real():
  lengths = np.tile([1, 3, 10], 700)
  valid = np.arange(10) < lengths[:, None]
  values = np.where(valid, 1.0, 5.0)[..., None]
  found = view(values, crop=0.8, valid=valid)[..., 0]
  np.testing.assert_array_equal(found[~valid], 5)
  for row, length in zip(found, lengths, strict=True):
    (left,) = np.nonzero(row[:length])
    assert len(left) and (np.diff(left) == 1).all()
  # (1 - 0.8 u) 10 rounded: 2 and 10 half as often as 3 to 9.
  counts = np.bincount((found[lengths == 10] == 1).sum(1), minlength=11)[2:]
  assert stats.chisquare(counts, 700 * np.array([0.5, *[1] * 7, 0.5]) / 8).pvalue > 1e-3
  np.testing.assert_array_equal(found[lengths == 1][:, 0], 1)


@pytest.mark.parametrize("ndim", [2, 3])
def test_each_operation_is_applied_with_its_probability(ndim):
  values = np.ones((BATCH, *(3,) * (ndim - 1)))
  for strength in ({"drop_features": 1.0}, {"swap": 1.0}, {"scale": 1.0}):
    found = view(values, ((0.0,) * 3,), probability=0.4, **strength)
    changed = (found != 1).reshape(BATCH, -1).any(1)
    assert stats.binomtest(int(changed.sum()), BATCH, 0.4).pvalue > 1e-3


@pytest.mark.parametrize("ndim", [2, 3])
def test_at_strength_0_views_are_those_of_older_runs(ndim):
  values = jnp.asarray(np.random.default_rng(0).normal(size=(6, *(4,) * (ndim - 1))), jnp.float32)
  fields = {"probability": 0.5, "drop_fraction": 0.8, "noise_std": 0.1}
  off = dict.fromkeys(array_views.Strength._fields, 0.0)
  made = array_views.array_transform(ndim, np.zeros((1, 4)), **fields, **off)
  old = sequence_transform(("drop", "noise") if ndim == 3 else ("noise",), **fields)
  arguments = {"view_keys": keys(2, 6)}
  np.testing.assert_array_equal(
    made.augment(keys(1, 6), values, **arguments), old.augment(keys(1, 6), values, **arguments)
  )


def test_a_view_depends_on_its_own_key_and_example_alone_and_is_not_the_clean_one():
  rng = np.random.default_rng(0)
  values, pool = rng.normal(size=(8, 5)), rng.normal(size=(9, 5))
  options = {"swap": 0.3, "drop_features": 0.2, "scale": 0.1, "noise_std": 0.3}
  made = array_views.array_transform(2, pool.astype(np.float32), **(OFF | options))
  x = jnp.asarray(values, jnp.float32)
  whole, half = made.augment(keys(1, 8), x), made.augment(keys(1, 8)[4:], x[4:])
  np.testing.assert_allclose(whole[4:], half, rtol=1e-6)
  np.testing.assert_array_equal(made.evaluate(keys(1, 8), x), x)


def test_a_pool_is_of_training_rows_and_bounded():
  rows = np.arange(12.0, dtype=np.float32).reshape(6, 2)
  np.testing.assert_array_equal(array_views.make_pool(rows), rows)
  wide = np.zeros((3000, 1000), np.float32)
  assert len(array_views.make_pool(wide)) == 2**21 // 4000
  assert len(array_views.make_pool(np.zeros((2, 2**20), np.float32))) == 1
