"""Keep masks: counts against the published table, uniformity, independence, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import masking

sample_keep = jax.jit(masking.sample_keep, static_argnums=(1, 2, 3))


def example_keys(batch, seed=0, impl=None):
  return jax.random.split(jax.random.key(seed, impl=impl), batch)


def test_num_kept_is_the_published_truncation(golden):
  arrays, _ = golden("len_keep")
  rows = arrays["table/ratios"] < 1
  ratios, lengths = arrays["table/ratios"][rows], arrays["table/lengths"]
  got = [[masking.num_kept(int(n), float(r)) for n in lengths] for r in ratios]
  np.testing.assert_array_equal(got, arrays["table/kept"][rows])
  # The table tells double precision from exact arithmetic.
  assert (arrays["table/kept"] != arrays["table/kept_exact_arithmetic"])[rows].any()


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.5, float("nan")])
def test_ratio_outside_its_range_is_refused(ratio):
  with pytest.raises(ValueError, match="mask_ratio"):
    masking.num_kept(10, ratio)
  with pytest.raises(ValueError, match="mask_ratio"):
    masking.sample_keep(example_keys(2), (4,), ratio, 1)


def test_bad_arguments_are_refused():
  with pytest.raises(ValueError, match="num_views"):
    masking.sample_keep(example_keys(2), (4,), 0.5, 0)
  with pytest.raises(ValueError, match="length"):
    masking.num_kept(-1, 0.5)
  with pytest.raises(ValueError, match=r"\(2, 7\)"):
    masking.sample_keep(example_keys(2), (4, 3), 0.5, 1, valid=np.ones((2, 6), bool))
  with pytest.raises(ValueError, match="float32"):
    masking.sample_keep(example_keys(2), (4, 3), 0.5, 1, valid=np.ones((2, 7), np.float32))


@pytest.mark.parametrize("ratio", [0.0, 0.8])
def test_every_modality_of_every_view_keeps_its_count(ratio):
  lengths = (36, 10, 1)
  keep = np.asarray(sample_keep(example_keys(5), lengths, ratio, 4))
  assert keep.shape == (4, 5, 47) and keep.dtype == bool
  for part, length in zip(np.split(keep, [36, 46], axis=2), lengths, strict=True):
    assert (part.sum(-1) == masking.num_kept(length, ratio)).all()


def test_every_pair_of_tokens_is_kept_equally_often():
  batch, num_views, length = 4000, 2, 8
  keep = np.asarray(sample_keep(example_keys(batch), (length,), 0.6, num_views))
  draws = keep.reshape(-1, length).astype(float)
  single, pair = 3 / 8, 3 * 2 / (8 * 7)  # three of eight kept
  joint = draws.T @ draws / len(draws)
  expected = np.where(np.eye(length, dtype=bool), single, pair)
  sigma = np.sqrt(expected * (1 - expected) / len(draws))
  assert (np.abs(joint - expected) < 4.5 * sigma).all()


def test_examples_views_and_modalities_are_independent():
  batch, lengths = 4000, (6, 6)
  keep = np.asarray(sample_keep(example_keys(batch), lengths, 0.5, 2)).astype(float)
  neighbour = np.roll(keep, 1, axis=1)
  first, second = keep[:, :, :6], keep[:, :, 6:]
  for a, b in ((keep[0], keep[1]), (keep[0], neighbour[0]), (first[0], second[0])):
    joint = (a * b).mean(0)  # same position in two independent draws: 1/2 * 1/2
    assert (np.abs(joint - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / batch)).all()


def test_padding_is_never_kept_and_does_not_count():
  lengths, ratio = (10, 5), 0.8
  rng = np.random.default_rng(0)
  valid = rng.random((40, 15)) < 0.7
  valid[0] = False
  valid[1] = True
  keep = np.asarray(sample_keep(example_keys(40), lengths, ratio, 3, valid))
  assert not keep[:, ~valid].any()
  for kept, real in zip(np.split(keep, [10], axis=2), np.split(valid, [10], axis=1), strict=True):
    expected = [masking.num_kept(int(count), ratio) for count in real.sum(-1)]
    np.testing.assert_array_equal(kept.sum(-1), np.tile(expected, (3, 1)))
  assert keep[0, 1].sum() == 1 + 0  # int(10 * 0.2) in doubles is 1, int(5 * 0.2) is 0


def test_padding_is_drawn_around_uniformly():
  valid = np.tile([True, False, True, True, False, True], (4000, 1))
  keep = np.asarray(sample_keep(example_keys(4000), (6,), 0.5, 1, valid))[0]
  frequency = keep[:, valid[0]].mean(0)  # two of four
  assert (np.abs(frequency - 0.5) < 4.5 * np.sqrt(0.25 / 4000)).all()


@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_a_draw_depends_on_the_key_of_its_example_alone(impl):
  keys = example_keys(6, impl=impl)
  whole = np.asarray(sample_keep(keys, (9, 4), 0.5, 3))
  order = np.array([4, 1, 5])
  part = np.asarray(sample_keep(keys[order], (9, 4), 0.5, 3))
  np.testing.assert_array_equal(part, whole[:, order])
  assert len({draw.tobytes() for draw in np.moveaxis(whole, 1, 0)}) == 6


def test_jit_and_a_seed_axis_change_nothing():
  keys = jnp.stack([example_keys(3, seed) for seed in range(2)])
  together = jax.vmap(lambda k: sample_keep(k, (7, 3), 0.5, 2))(keys)
  for seed in range(2):
    alone = masking.sample_keep(keys[seed], (7, 3), 0.5, 2)
    np.testing.assert_array_equal(together[seed], alone)


def test_double_precision_mode_draws_the_same_masks():
  single = np.asarray(sample_keep(example_keys(3), (7, 3), 0.5, 2))
  with jax.enable_x64(True):
    np.testing.assert_array_equal(sample_keep(example_keys(3), (7, 3), 0.5, 2), single)
