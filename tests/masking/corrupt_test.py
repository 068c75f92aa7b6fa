"""Corruption: gate, draws, fills and running moments."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import masking

# Compiled, as a step has them: else every operation would be compiled for itself.
fill, update_moments = jax.jit(masking.fill, static_argnums=0), jax.jit(masking.update_moments)


def example_keys(batch, seed=0, impl=None):
  return jax.random.split(jax.random.key(seed, impl=impl), batch)


def distinct(batch=6, features=(5,)):
  """Inputs without a repeated value and without zeros."""
  return jnp.arange(1.0, 1 + batch * np.prod(features)).reshape(batch, *features)


def fill_by(name, x, keys, **arguments):
  moments = update_moments(masking.init_moments(x.shape[-1:]), x)
  return fill(name, keys, x, moments=moments, order_key=jax.random.key(7), **arguments)


# Gate and Bernoulli draws


@pytest.mark.parametrize("name", masking.FILLS)
def test_input_differs_exactly_where_it_is_corrupted(name):
  x = distinct()
  corrupt = masking.sample_corrupt(example_keys(6, seed=1), (5,), 0.5)
  replacement = fill_by(name, x, example_keys(6, seed=2))
  if name == "shuffle":  # a row may receive itself: leave those out
    moved = np.asarray(replacement != x).all(1)
    assert moved.sum() >= 2
    corrupt = corrupt & moved[:, None]
  assert corrupt.any() and not corrupt.all()
  got = masking.gate(x, replacement, corrupt)
  np.testing.assert_array_equal(got != x, corrupt)
  np.testing.assert_array_equal(got, np.where(corrupt, replacement, x))


def test_relaxed_gate_interpolates_and_passes_gradient_to_the_gate(x64):
  rng = np.random.default_rng(0)
  x, replacement, corrupt = (
    rng.normal(size=(3, 4, 2)),
    rng.normal(size=(3, 4, 2)),
    rng.random((3, 4)),
  )
  got, pull_back = jax.vjp(masking.gate, x, replacement, corrupt)
  c = corrupt[..., None]
  np.testing.assert_allclose(got, (1 - c) * x + c * replacement, rtol=1e-12)
  np.testing.assert_allclose(
    pull_back(jnp.ones_like(got))[2], (replacement - x).sum(-1), rtol=1e-12
  )
  hard = (corrupt > 0.5).astype(float)
  np.testing.assert_array_equal(
    masking.gate(x, replacement, hard), masking.gate(x, replacement, corrupt > 0.5)
  )


def test_gate_keeps_the_dtype_of_its_input():
  x = distinct().astype(jnp.bfloat16)
  for corrupt in (jnp.ones((6, 5), bool), jnp.full((6, 5), 0.5, jnp.float32)):
    assert masking.gate(x, 0 * x, corrupt).dtype == jnp.bfloat16


def test_coordinates_are_corrupted_independently_at_the_given_rate():
  batch, sample = 4000, jax.jit(masking.sample_corrupt, static_argnums=1)
  for probability in (0.2, 0.5):  # traced: one compilation
    draws = np.asarray(sample(example_keys(batch), (2, 3), probability)).reshape(batch, -1)
    joint = draws.T.astype(float) @ draws / batch
    expected = np.where(np.eye(6, dtype=bool), probability, probability**2)
    assert (np.abs(joint - expected) < 4.5 * np.sqrt(expected * (1 - expected) / batch)).all()
    neighbours = (draws[1:] & draws[:-1]).mean()
    assert abs(neighbours - probability**2) < 4.5 * probability / np.sqrt(6 * batch)
  assert not sample(example_keys(8), (2, 3), 0.0).any()
  assert sample(example_keys(8), (2, 3), 1.0).all()
  assert sample(example_keys(8), (), 0.5).shape == (8,)


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_an_examples_draw_does_not_depend_on_its_batch(impl):
  keys, x = example_keys(6, impl=impl), distinct()
  moments = update_moments(masking.init_moments((5,)), x)
  for function in (
    lambda keys, x: masking.sample_corrupt(keys, (5,), 0.5),
    lambda keys, x: fill("noise", keys, x),
    lambda keys, x: fill("ema", keys, x, moments=moments),
  ):
    whole, part = function(keys, x), function(keys[3:5], x[3:5])
    np.testing.assert_array_equal(whole[3:5], part)
    assert (whole[0] != whole[1]).any()


# Fills and running moments


def test_noise_is_standard_normal_and_ema_imitates_the_moments(x64):
  batch, keys = 4000, example_keys(4000)
  x = np.array([3.0, -50.0]) + np.array([0.1, 20.0]) * np.random.default_rng(0).normal(
    size=(batch, 2)
  )
  noise, imitation = (fill_by(name, x, keys, scale=0.5) for name in ("noise", "ema"))
  for draw, mean, std in ((noise, 0, 1), (imitation, x.mean(0), x.std(0) / 2)):
    standard = (np.asarray(draw) - mean) / std
    np.testing.assert_allclose(standard.mean(0), 0, atol=4.5 / np.sqrt(batch))
    np.testing.assert_allclose(standard.std(0), 1, atol=4.5 / np.sqrt(2 * batch))


def test_shuffle_is_a_permutation_and_zeros_are_zeros():
  x = distinct()
  shuffled = np.asarray(fill_by("shuffle", x, None))
  assert (shuffled != x).any()
  np.testing.assert_array_equal(np.sort(shuffled[:, 0]), x[:, 0])
  np.testing.assert_array_equal(shuffled - shuffled[:, :1], x - x[:, :1])  # rows stay together
  np.testing.assert_array_equal(fill_by("zeros", x, None), np.zeros_like(x))


@pytest.mark.parametrize("name", masking.FILLS)
def test_fills_are_constants_of_the_inputs_dtype(name):
  x = distinct()
  grad = jax.jit(jax.grad(lambda x: fill_by(name, x, example_keys(6)).sum()))(x)
  np.testing.assert_array_equal(grad, np.zeros_like(x))
  assert fill_by(name, x.astype(jnp.bfloat16), example_keys(6)).dtype == jnp.bfloat16


def test_moments_are_constants():
  def filled(first):
    moments = masking.Moments(first, first**2 + 1, jnp.ones((), jnp.int32))
    return fill("ema", example_keys(6), distinct(), moments=moments).sum()

  np.testing.assert_array_equal(jax.grad(filled)(jnp.ones(5)), np.zeros(5))


@pytest.mark.parametrize("case", ["ema_2d", "ema_3d"])
def test_moments_and_their_noise_equal_the_published_values(case, golden, x64, monkeypatch):
  arrays, meta = golden("synib_ema")
  moments = masking.init_moments((5,))
  for i in range(4):
    moments = update_moments(moments, arrays[f"{case}/z{i}"], momentum=meta[case]["beta"])
    for got, name in (
      (moments.first, "ex"),
      (moments.second, "ex2"),
      (moments.mean, "mu"),
      (moments.variance, "var"),
    ):
      np.testing.assert_allclose(got, arrays[f"{case}/{name}{i}"], rtol=1e-9)
    assert moments.count == arrays[f"{case}/n{i}"]
  eps = arrays[f"{case}/eps"]
  monkeypatch.setattr("synjax.masking.corrupt.standard_normal", lambda keys, shape: eps)
  for scale, name in ((1.0, "noise_scale1"), (0.5, "noise_scale05")):
    got = masking.fill("ema", example_keys(len(eps)), eps, moments=moments, scale=scale)
    np.testing.assert_allclose(got, arrays[f"{case}/{name}"], rtol=1e-9)


def test_variance_of_a_constant_feature_is_the_floor(golden):
  arrays, _ = golden("synib_ema")
  moments = update_moments(masking.init_moments((3,)), jnp.full((4, 3), 2.0))
  np.testing.assert_allclose(moments.mean, arrays["ema_constant_feature/mu"])
  np.testing.assert_allclose(moments.variance, arrays["ema_constant_feature/var"])


def test_filler_and_padding_do_not_enter_the_moments():
  x = np.random.default_rng(0).normal(size=(4, 3, 2)).astype(np.float32)
  valid = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1]], bool)
  x[~valid] = np.nan
  moments = update_moments(masking.init_moments((2,)), x, valid=valid)
  np.testing.assert_allclose(moments.first, x[valid].mean(0), rtol=1e-5)
  np.testing.assert_allclose(moments.second, (x[valid] ** 2).mean(0), rtol=1e-5)
  by_example = update_moments(moments, x, valid=np.array([False, False, False, True]))
  np.testing.assert_allclose(
    by_example.first, 0.99 * moments.first + 0.01 * x[3].mean(0), rtol=1e-5
  )
  for started in (moments, masking.init_moments((2,))):  # nothing valid: nothing changes
    unchanged = update_moments(started, x, valid=np.zeros(4, bool))
    jax.tree.map(np.testing.assert_array_equal, unchanged, started)


def test_devices_share_their_moments():
  x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
  valid = np.array([[True] * 4, [True, False, False, False]])
  update = functools.partial(masking.update_moments, axis="devices")
  shared = jax.vmap(
    lambda x, valid: update(masking.init_moments((3,)), x, valid=valid), axis_name="devices"
  )(x, valid)
  expected = x[valid].mean(0)
  np.testing.assert_allclose(shared.first, [expected, expected], rtol=1e-5)


# Learned corruption


def test_bad_arguments_are_refused():
  x, keys = distinct(), example_keys(6)
  with pytest.raises(ValueError, match="replacement"):
    masking.gate(x, x[:, :1], jnp.ones((6, 5), bool))
  with pytest.raises(ValueError, match="corrupt"):
    masking.gate(x, x, jnp.ones((5,), bool))
  with pytest.raises(ValueError, match="int32"):
    masking.gate(x, x, jnp.ones((6, 5), jnp.int32))
  with pytest.raises(ValueError, match="probability"):
    masking.sample_corrupt(keys, (5,), 1.5)
  with pytest.raises(ValueError, match="shuffle"):
    masking.fill("permute", keys, x)
  for name, missing in (("noise", "keys"), ("ema", "keys and moments"), ("shuffle", "order_key")):
    with pytest.raises(ValueError, match=missing):
      masking.fill(name, None, x)
  with pytest.raises(ValueError, match=r"\(4,\)"):
    update_moments(masking.init_moments((4,)), x)
  with pytest.raises(ValueError, match="valid"):
    update_moments(masking.init_moments((5,)), x, valid=np.ones(5, bool))


def test_the_guard_counts_examples_by_hand():
  corrupt = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [1, 1, 1]], bool)
  real = np.array([[1, 1, 0], [1, 1, 1], [1, 1, 0], [1, 1, 1]], bool)
  expected = [
    all(c for c, r in zip(row, own, strict=True) if r) or not row.any()
    for row, own in zip(corrupt, real, strict=True)
  ]
  found = masking.is_uniform(jnp.asarray(corrupt), jnp.asarray(real))
  np.testing.assert_array_equal(found, expected)
  assert list(expected) == [True, True, False, True]


def test_a_shuffle_is_a_permutation_of_what_is_valid_and_every_one_is_as_likely():
  valid = jnp.array([True, False, True, True, False])
  x = jnp.arange(5.0)[:, None]
  draw = jax.jit(
    jax.vmap(lambda key: masking.fill("shuffle", None, x, order_key=key, valid=valid)[:, 0])
  )
  found = np.asarray(draw(jax.random.split(jax.random.key(0), 1200))).astype(int)
  kept = found[:, np.asarray(valid)]
  assert (np.sort(kept, axis=1) == [0, 2, 3]).all()
  assert (np.sort(found[:, [1, 4]], axis=1) == [1, 4]).all()
  orders, counts = np.unique(kept, axis=0, return_counts=True)
  assert len(orders) == 6
  assert (np.abs(counts - 200) < 4.5 * np.sqrt(200 * 5 / 6)).all()


def test_tokens_are_filled_from_real_tokens_of_their_place():
  lengths = np.array([3, 1, 2, 0, 3])
  valid = np.arange(3) < lengths[:, None]
  x = jnp.arange(15.0).reshape(5, 3)[..., None] * jnp.ones(2)
  for seed in range(5):
    key = jax.random.key(seed)
    found = masking.fill("shuffle", None, x, order_key=key, valid=jnp.asarray(valid))
    for place in range(3):
      rows = valid[:, place]
      np.testing.assert_array_equal(
        np.sort(found[rows, place, 0]), np.sort(np.asarray(x)[rows, place, 0])
      )
    np.testing.assert_array_equal(found[..., 0], found[..., 1])  # tokens stay whole


def test_donors_learn_only_where_asked():
  key, x = jax.random.key(0), jnp.arange(10.0).reshape(5, 2)
  order = np.asarray(masking.fill("shuffle", None, x, order_key=key))[:, 0].astype(int) // 2
  weight = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)

  def total(x, donors_learn):
    return jnp.sum(
      weight * masking.fill("shuffle", None, x, order_key=key, donors_learn=donors_learn)
    )

  expected = np.zeros_like(weight)
  expected[order] = weight
  np.testing.assert_allclose(jax.grad(total)(x, True), expected)
  np.testing.assert_array_equal(jax.grad(total)(x, False), 0)
