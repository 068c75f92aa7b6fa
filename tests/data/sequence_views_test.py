"""Views of sequences and vectors against NumPy loops and distributions worked out by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from synjax.data import sequence_views
from synjax.data.sequence_views import sequence_transform

BATCH, LENGTH, WIDTH = 2000, 10, 3


def keys_of(seed, batch=BATCH):
  return jax.random.split(jax.random.key(seed), batch)


def sequences(batch=BATCH, length=LENGTH, width=WIDTH, lengths=None):
  """Values that are never 0 where they are real, 0 where they are padding, and `valid`."""
  values = np.random.default_rng(0).uniform(1, 2, (batch, length, width)).astype(np.float32)
  lengths = np.full(batch, length) if lengths is None else lengths
  valid = np.arange(length) < np.asarray(lengths)[:, None]
  return values * valid[..., None], valid


def augment(transform, values, *, seed=1, view_seed=2, valid=None):
  arguments = keys_of(seed, len(values)), jnp.asarray(values)
  masks = {"view_keys": keys_of(view_seed, len(values)), "valid": valid}
  return np.asarray(jax.jit(transform.augment)(*arguments, **masks))


def always(*operations, **options):
  return sequence_transform(operations, probability=1.0, **options)


def restate(key, view_key, x, valid, *, operations, joint):
  """One example as a NumPy loop, from the draws of the documented streams."""
  x, real = x.copy(), np.flatnonzero(valid)
  coins = jax.random.uniform(jax.random.fold_in(view_key if joint else key, 5), 5)
  for name in operations:
    number = ("noise", "drop").index(name)
    stream = jax.random.fold_in(key, number)
    if coins[number] >= 0.5:
      continue
    if name == "noise":
      draws = np.asarray(jax.random.normal(stream, x.shape))
      for row in real:
        x[row] += np.float32(0.1) * draws[row]
    else:
      fraction, *draws = np.asarray(jax.random.uniform(stream, (1 + len(x),)))
      count = round(float(np.float32(0.8) * fraction * np.float32(len(real))))
      for row in sorted(real, key=lambda row: draws[row])[:count]:
        x[row] = 0
  return x


@pytest.mark.parametrize(
  ("operations", "joint", "vector"),
  [
    (("drop", "noise"), True, False),
    (("drop", "noise"), False, True),
    (("noise", "drop"), False, False),
    (("noise",), False, True),
  ],
)
def test_views_are_the_numpy_loop(operations, joint, vector):
  values, valid = sequences(24, 7, lengths=np.arange(24) % 8)
  values = values[..., 0] if vector else values
  found = augment(sequence_transform(operations, joint=joint), values, valid=valid)
  rows = zip(keys_of(1, 24), keys_of(2, 24), values, valid, strict=True)
  expected = [restate(*row, operations=operations, joint=joint) for row in rows]
  np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-7)
  assert found.dtype == np.float32
  changed = (found != values).reshape(24, -1).any(1)
  assert 3 < changed.sum() < 24


@pytest.mark.parametrize("share", [0.0, 0.25, 0.3, 0.5, 0.7, 0.8, 1.0])
def test_counts_are_rounded_half_to_even(share):
  for real in range(12):
    valid = jnp.arange(12) < real
    assert sequence_views._count(share, valid) == round(float(np.float32(share) * np.float32(real)))


def test_number_of_dropped_rows_has_the_distribution_of_a_rounded_uniform_share():
  values, _ = sequences()
  found = augment(always("drop"), values)
  dropped = (found == 0).all(-1)
  np.testing.assert_array_equal((found == 0).any(-1), dropped)
  np.testing.assert_array_equal(found[~dropped], values[~dropped])
  # f T ~ U(0, 8): 0 and 8 are half as likely as 1 to 7.
  expected = BATCH * np.array([0.5, 1, 1, 1, 1, 1, 1, 1, 0.5]) / 8
  assert stats.chisquare(np.bincount(dropped.sum(1), minlength=9), expected).pvalue > 1e-3
  # Every row is dropped equally often: mean share 0.4.
  np.testing.assert_allclose(dropped.mean(0), 0.4, atol=0.05)
  # Pairs too: E m (m - 1) / (10 * 9) with E m^2 = (2 (1 + 4 + ... + 49) + 64) / 16 = 21.5, E m = 4.
  together = (dropped[:, :, None] & dropped[:, None]).mean(0)[~np.eye(10, dtype=bool)]
  np.testing.assert_allclose(together, 17.5 / 90, atol=0.05)


def test_count_is_a_share_of_the_valid_rows_and_padding_is_not_drawn():
  lengths = np.tile([4, 10], BATCH // 2)
  values, valid = sequences(lengths=lengths)
  found = augment(always("drop", drop_fraction=1.0), values, valid=valid)
  dropped = (found == 0).all(-1) & valid
  # f T ~ U(0, 4).
  expected = BATCH / 2 * np.array([0.5, 1, 1, 1, 0.5]) / 4
  assert stats.chisquare(np.bincount(dropped[::2].sum(1)), expected).pvalue > 1e-3
  np.testing.assert_allclose(dropped[::2, :4].mean(0), 0.5, atol=0.06)


@pytest.mark.parametrize("operations", [(name,) for name in sequence_views.OPERATIONS])
def test_padding_is_untouched_whatever_it_holds(operations):
  values, valid = sequences(64, lengths=np.arange(64) % 11)
  found = augment(always(*operations), values, valid=valid)
  np.testing.assert_array_equal(found[~valid], 0)
  marked = np.where(valid[..., None], values, 7).astype(np.float32)
  found_marked = augment(always(*operations), marked, valid=valid)
  np.testing.assert_array_equal(found_marked[~valid], 7)
  np.testing.assert_array_equal(found_marked[valid], found[valid])
  assert (found[valid] != values[valid]).any()


def test_noise_is_gaussian_and_independent_in_every_entry():
  values, _ = sequences()
  noise = augment(always("noise"), values) - values
  assert stats.kstest(noise.ravel()[::3] / 0.1, "norm").pvalue > 1e-3
  flat = noise.reshape(BATCH, -1)
  correlation = np.corrcoef(flat.T)[~np.eye(30, dtype=bool)]
  assert np.abs(correlation).max() < 5 / np.sqrt(BATCH)
  twice = augment(always("noise", noise_std=0.2), values) - values
  np.testing.assert_allclose(twice, 2 * noise, atol=1e-6)


def test_noise_after_drop_reaches_dropped_rows_and_noise_before_does_not():
  values, _ = sequences(200)
  after = augment(always("drop", "noise"), values)
  dropped = np.abs(after).max(-1) < 0.9
  assert 0.3 < dropped.mean() < 0.5
  assert (after != 0).all()
  before = augment(always("noise", "drop"), values)
  np.testing.assert_array_equal((before == 0).all(-1), dropped)


def test_joint_decisions_are_shared_by_modalities_and_drawn_anew_for_every_view():
  transform = sequence_transform(("drop", "noise"), joint=True, drop_fraction=1.0)
  vision, _ = sequences()
  text, _ = sequences(length=6, width=5)

  def decisions(values, seed, view_seed):
    found = augment(transform, values, seed=seed, view_seed=view_seed)
    noisy = ((found != values) & (found != 0)).any((1, 2))
    return noisy, found

  noisy_vision, found_vision = decisions(vision, 1, 2)
  noisy_text, _ = decisions(text, 3, 2)
  np.testing.assert_array_equal(noisy_vision, noisy_text)
  noisy_other_view, _ = decisions(vision, 4, 5)
  assert noisy_vision.mean() == pytest.approx(0.5, abs=0.05)
  assert (noisy_vision == noisy_other_view).mean() == pytest.approx(0.5, abs=0.05)
  # What is drawn beside the decisions is each modality's own.
  _, found_other_keys = decisions(vision, 6, 2)
  both = noisy_vision & (found_vision != found_other_keys).any((1, 2))
  assert both.sum() == noisy_vision.sum()


def test_the_two_joint_decisions_are_independent_and_drop_is_shared_too():
  # At drop_fraction 1 and 10 rows, a drop changes nothing in 1 of 20 examples only.
  values, _ = sequences()
  text, _ = sequences(width=5)
  only_drop = sequence_transform(("drop",), joint=True, drop_fraction=1.0)
  with_noise = sequence_transform(("noise",), joint=True)
  change = lambda found, values: (found != values).any((1, 2))  # noqa: E731
  dropped = change(augment(only_drop, values), values)
  noisy = change(augment(with_noise, values, seed=8), values)
  dropped_text = change(augment(only_drop, text, seed=9), text)
  assert (dropped == dropped_text).mean() > 0.9
  assert dropped.mean() == pytest.approx(0.475, abs=0.05)
  assert np.abs(np.corrcoef(dropped, noisy)[0, 1]) < 0.1


def test_separate_decisions_ignore_the_view_keys_and_differ_between_modalities():
  transform = sequence_transform(("noise",))
  values, _ = sequences()
  first = augment(transform, values, view_seed=2)
  np.testing.assert_array_equal(first, augment(transform, values, view_seed=3))
  applied = (first != values).any((1, 2))
  other = (augment(transform, values, seed=7) != values).any((1, 2))
  assert applied.mean() == pytest.approx(0.5, abs=0.05)
  assert (applied == other).mean() == pytest.approx(0.5, abs=0.05)


def test_probability_zero_is_the_identity_and_a_quarter_is_a_quarter():
  values, _ = sequences()
  for probability, bound in ((0.0, 0), (0.25, 0.04)):
    found = augment(sequence_transform(("noise",), probability=probability), values)
    assert (found != values).any((1, 2)).mean() == pytest.approx(probability, abs=bound)


def test_a_view_depends_on_its_own_keys_and_example_only():
  values, valid = sequences(32, lengths=np.arange(32) % 11)
  transform = sequence_transform(("drop",), joint=True)
  order = np.random.default_rng(0).permutation(32)
  for implementation in ("threefry2x32", "rbg"):
    keys, view_keys = (
      jax.random.split(jax.random.key(seed, impl=implementation), 32) for seed in (1, 2)
    )
    function = jax.jit(transform.augment)
    found = function(keys, values, view_keys=view_keys, valid=valid)
    permuted = function(keys[order], values[order], view_keys=view_keys[order], valid=valid[order])
    np.testing.assert_array_equal(permuted, np.asarray(found)[order])


def test_permute_orders_valid_rows_uniformly():
  lengths = np.tile([3, 10], BATCH // 2)
  values, valid = sequences(lengths=lengths)
  found = augment(always("permute"), values, valid=valid)
  np.testing.assert_array_equal(np.sort(found[..., 0]), np.sort(values[..., 0]))
  orders = found[::2, :3, 0].argsort(1).argsort(1)
  original = values[::2, :3, 0].argsort(1).argsort(1)
  which = np.take_along_axis(original.argsort(1), orders, 1) @ [9, 3, 1]
  _, counts = np.unique(which, return_counts=True)
  assert len(counts) == 6
  assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
  ("operation", "counts"),
  [
    # g T ~ U(0.8, 10) rows are kept, so 10 minus its rounding dropped.
    ("crop", {**{10 - kept: 1 / 9.2 for kept in range(2, 10)}, 9: 0.7 / 9.2, 0: 0.5 / 9.2}),
    ("drop_consecutive", {**dict.fromkeys(range(1, 8), 1 / 8), 0: 1 / 16, 8: 1 / 16}),
  ],
)
def test_windows_are_consecutive_of_the_right_size_and_place(operation, counts):
  lengths = np.tile([10, 12], BATCH // 2)
  values, valid = sequences(length=12, lengths=lengths)
  found = augment(always(operation), values, valid=valid)[::2, :10]
  dropped = (found == 0).all(-1)
  np.testing.assert_array_equal(found[~dropped], values[::2, :10][~dropped])
  marked = ~dropped if operation == "crop" else dropped
  assert (np.abs(np.diff(np.pad(marked, ((0, 0), (1, 1))).astype(int), axis=1)).sum(1) <= 2).all()
  observed = [(dropped.sum(1) == count).sum() for count in counts]
  assert stats.chisquare(observed, np.array(list(counts.values())) * BATCH / 2).pvalue > 1e-3
  starts = marked.argmax(1)[marked.sum(1) == 7]
  assert stats.chisquare(np.bincount(starts, minlength=4)).pvalue > 1e-3


def test_dtypes_and_evaluation(x64):
  del x64
  values, valid = sequences(8)
  transform = always("drop", "noise")
  arguments = {"view_keys": keys_of(2, 8), "valid": valid}
  for stored, expected in ((jnp.bfloat16, jnp.float32), (jnp.float32,) * 2, (jnp.float64,) * 2):
    typed = jnp.asarray(values, stored)
    made = jax.eval_shape(lambda x: transform.augment(keys_of(1, 8), x, **arguments), typed)
    assert (made.shape, made.dtype) == (values.shape, expected)
    evaluated = transform.evaluate(keys_of(1, 8), typed, **arguments)
    assert evaluated.dtype == expected
    np.testing.assert_array_equal(evaluated, typed.astype(expected))


@pytest.mark.parametrize(
  ("operations", "options", "message"),
  [
    ("drop+noise", {}, "sequence of names"),
    (("drop", "mixup"), {}, "mixup"),
    (("drop", "drop"), {}, "at most once"),
    (("drop",), {"probability": 1.5}, "probability"),
    (("drop",), {"drop_fraction": -0.1}, "drop_fraction"),
    (("noise",), {"noise_std": float("nan")}, "noise_std"),
  ],
)
def test_settings_out_of_range_are_named(operations, options, message):
  with pytest.raises(ValueError, match=message):
    sequence_transform(operations, **options)


@pytest.mark.parametrize(
  ("values", "valid", "message"),
  [
    (jnp.ones((2, 3), int), None, "int32"),
    (jnp.ones(2), None, r"\[2\]"),
    (jnp.ones((2, 3)), jnp.ones((2, 4), bool), r"bool\[2, 4\]"),
    (jnp.ones((2, 3)), jnp.ones((2, 3)), r"float32\[2, 3\]"),
  ],
)
def test_wrong_inputs_are_named(values, valid, message):
  transform = always("noise")
  for function in (transform.augment, transform.evaluate):
    with pytest.raises(ValueError, match=message):
      function(keys_of(0, 2), values, view_keys=keys_of(1, 2), valid=valid)


def test_joint_decisions_need_view_keys():
  with pytest.raises(ValueError, match="view_keys"):
    always("noise", joint=True).augment(keys_of(0, 2), jnp.ones((2, 3)), view_keys=None, valid=None)


def test_a_crop_of_short_sequences_keeps_a_row():
  # g T rounds to 0 in 46 % of the examples of one row and in 18 % of those of two.
  lengths = np.tile([0, 1, 2], 22)[:64]
  values, valid = sequences(64, lengths=lengths)
  found = augment(always("crop"), values, valid=valid)
  np.testing.assert_array_equal((found != 0).any((1, 2)), lengths > 0)
