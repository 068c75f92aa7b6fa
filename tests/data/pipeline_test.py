import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax import parallel
from synjax.data import pipeline


def test_an_epoch_shows_every_example_once_and_no_epoch_repeats_another():
  order = pipeline.TrainOrder(12, 4, np.array([1, 2]))
  assert order.steps_per_epoch == 3
  epochs = order.take(0, 6).reshape(2, 2, 12)
  for seed in range(2):
    for epoch in range(2):
      np.testing.assert_array_equal(np.sort(epochs[seed, epoch]), np.arange(12))
  assert len({tuple(row) for row in epochs.reshape(4, 12)}) == 4


def test_the_order_depends_on_seed_and_step_alone():
  whole = pipeline.TrainOrder(13, 4, np.array([7, 8])).take(0, 9)
  alone = pipeline.TrainOrder(13, 4, np.array([8]))
  np.testing.assert_array_equal(alone.take(5, 4)[0], whole[1, 5:])
  np.testing.assert_array_equal(alone.take(0, 9)[0], whole[1])


@pytest.mark.parametrize("batch_size", [0, 5])
def test_a_batch_that_does_not_fit_is_refused(batch_size):
  with pytest.raises(ValueError, match="batch_size: expected 1 to 4"):
    pipeline.TrainOrder(4, batch_size, np.array([0]))


def test_the_evaluation_order_covers_everything_and_pads_at_the_end():
  index = pipeline.evaluation_order(10, 4)
  assert index.shape == (3, 4)
  np.testing.assert_array_equal(index.reshape(-1)[:10], np.arange(10))
  assert (index.reshape(-1)[10:] == 9).all()


def test_views_of_shared_and_own_transforms_equal_one_call_each():
  def noise(keys, x, **_):
    return x + jax.vmap(lambda key: jax.random.normal(key, x.shape[1:]))(keys)

  shared = pipeline.Transform(augment=noise, evaluate=lambda keys, x, **_: x * 2)
  own = pipeline.Transform(augment=lambda keys, x, **_: -x, evaluate=lambda keys, x, **_: x * 3)
  raw = {
    "a": jnp.ones((4, 2)),
    "b": jnp.zeros((4, 2)),
    "c": jnp.ones((4, 3)),
    "label": jnp.arange(4),
  }
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(4))
  transforms = {"a": shared, "b": shared, "c": own}
  views = pipeline.make_views(raw, transforms, ("clean", "aug1", "aug2"), keys)
  for view in ("aug1", "aug2"):
    for name in ("a", "b"):
      np.testing.assert_array_equal(views[view][name], noise(keys(f"{view}/{name}"), raw[name]))
    np.testing.assert_array_equal(views[view]["c"], -raw["c"])
  np.testing.assert_array_equal(views["clean"]["a"], 2 * raw["a"])
  np.testing.assert_array_equal(views["clean"]["label"], raw["label"])
  assert not np.array_equal(views["aug1"]["a"], views["aug2"]["a"])


def test_a_modality_that_was_not_gathered_is_left_out():
  transform = pipeline.Transform(augment=pipeline.unchanged, evaluate=pipeline.unchanged)
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(2))
  views = pipeline.make_views(
    {"a": jnp.ones((2, 1))}, dict.fromkeys("ab", transform), ("clean",), keys
  )
  assert set(views["clean"]) == {"a"}


LENGTHS = np.array([3, 1, 9, 6, 2, 7], np.int32)
SPLIT = pipeline.Split({}, 6, {}, lengths=LENGTHS)


@pytest.mark.parametrize(
  ("padding", "expected"),
  [
    (pipeline.Padding("fixed"), [None, None]),
    (pipeline.Padding("batch_max"), [6, 9]),
    (pipeline.Padding("bucket", (2, 6, 8, 12)), [6, 12]),
    (pipeline.Padding("bucket", (9,)), [9, 9]),
  ],
)
def test_the_longest_sequence_of_a_batch_decides_its_length(padding, expected):
  index = np.array([[0, 1, 3], [2, 4, 1]])
  assert padding.lengths(SPLIT, index) == expected


def test_the_longest_sequence_of_a_group_of_trials_counts_and_filler_does_not():
  padding = pipeline.Padding("batch_max")
  index = np.array([[[1, 4], [1, -1], [-1, -1]], [[0, 1], [4, 1], [-1, -1]]])
  found = padding.lengths(SPLIT, index)
  # Steps: trials hold lengths {1, 2} and {3, 1}; {1, filler} and {2, 1}; filler alone.
  assert found == [3, 2, 1]
  assert all(type(length) is int for length in found)


def test_trials_share_a_call_only_where_no_batch_decides_its_length():
  assert pipeline.Padding("fixed").groups(3) == [slice(0, 3)]
  for padding in pipeline.Padding("batch_max"), pipeline.Padding("bucket", (2, 9)):
    groups = padding.groups(3)
    assert [list(range(3))[group] for group in groups] == [[0], [1], [2]]
    index = np.array([[[0, 1], [2, 1]], [[5, 1], [0, 1]], [[1, 1], [1, 4]]])
    alone = [padding.lengths(SPLIT, trial[None]) for trial in index]
    assert [padding.lengths(SPLIT, index[group]) for group in groups] == alone


def test_a_split_without_padding_has_no_lengths():
  split = pipeline.Split({}, 6, {})
  assert pipeline.Padding("batch_max").lengths(split, np.zeros((2, 4, 3), int)) == [None] * 4


def test_cutting_shortens_padded_sequences_alone():
  raw = {
    "text": jnp.arange(24.0).reshape(2, 6, 2),
    "text_length": jnp.array([6, 2]),
    "series": jnp.ones((2, 6, 2)),
    "label": jnp.arange(2),
  }
  found = pipeline.cut(raw, 4)
  np.testing.assert_array_equal(found["text"], raw["text"][:, :4])
  for name in ("text_length", "series", "label"):
    np.testing.assert_array_equal(found[name], raw[name])
  np.testing.assert_array_equal(pipeline.cut(raw, None)["text"], raw["text"])


def padded_views(padding, seen, length=4):
  """Makes two views of a padded sequence and a vector with transforms that note what they get."""

  def note(kind):
    def transform(keys, values, *, view_keys=None, valid=None):
      seen.append((kind, values.shape, keys, view_keys, valid))
      return values

    return transform

  text, table = (pipeline.Transform(note(f"{m} augment"), note(f"{m} clean")) for m in ("a", "b"))
  raw = {
    "text": jnp.ones((3, length, 2)),
    "text_length": jnp.array([2, 4, 1]),
    "table": jnp.ones((3, 5)),
    "label": jnp.arange(3),
  }
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(3))
  transforms = {"text": text, "table": table}
  return pipeline.make_views(raw, transforms, ("clean", "aug1", "aug2"), keys, padding), keys


def test_views_say_which_steps_are_real_when_padding_is_marked():
  views, _ = padded_views(pipeline.Padding("fixed"), [])
  expected = [[True, True, False, False], [True] * 4, [True, False, False, False]]
  for view in views.values():
    assert set(view) == {"text", "text_valid", "table", "label"}
    np.testing.assert_array_equal(view["text_valid"], expected)


def test_views_hide_padding_that_is_not_marked():
  views, _ = padded_views(pipeline.Padding("batch_max"), [])
  assert all(set(view) == {"text", "table", "label"} for view in views.values())


@pytest.mark.parametrize("mode", ["fixed", "batch_max"])
def test_transforms_always_learn_which_steps_are_real(mode):
  # Also when models do not: augmentations leave padding alone under every protocol.
  seen = []
  _, keys = padded_views(pipeline.Padding(mode), seen)
  valid = {kind: found for kind, _, _, _, found in seen}
  expected = np.array([[True, True, False, False], [True] * 4, [True, False, False, False]])
  np.testing.assert_array_equal(valid["a clean"], expected)
  np.testing.assert_array_equal(valid["a augment"], np.concatenate([expected] * 2))
  assert valid["b clean"] is None and valid["b augment"] is None
  data = jax.random.key_data
  for kind, _, own, shared, _ in seen:
    views = ("clean",) if kind.endswith("clean") else ("aug1", "aug2")
    name = "text" if kind.startswith("a") else "table"
    np.testing.assert_array_equal(
      data(own), np.concatenate([data(keys(f"{view}/{name}")) for view in views])
    )
    np.testing.assert_array_equal(
      data(shared), np.concatenate([data(keys(view)) for view in views])
    )


@pytest.mark.parametrize("mode", ["fixed", "batch_max"])
@pytest.mark.parametrize("stored", [0.0, np.nan, 1e38])
def test_what_stands_in_the_place_of_an_absent_modality_is_never_read(mode, stored):
  seen, present = [], jnp.array([True, False, True])

  def note(keys, values, *, view_keys=None, valid=None):
    seen.append((values, valid))
    return values + 1

  raw = {
    "text": jnp.ones((3, 4, 2)).at[1].set(stored),
    "text_length": jnp.array([2, 3, 1]),
    "text_present": present,
    "picture": jnp.full((3, 2, 2, 3), 7, jnp.uint8).at[1].set(200),
    "picture_present": present,
  }
  keys = functools.partial(parallel.example_keys, jax.random.key(0), index=jnp.arange(3))
  transforms = dict.fromkeys(("text", "picture"), pipeline.Transform(note, note))
  views = pipeline.make_views(raw, transforms, ("clean", "aug1"), keys, pipeline.Padding(mode))
  for values, _ in seen:
    for part in np.split(np.asarray(values), len(values) // 3):
      np.testing.assert_array_equal(part[1], 0)
      assert (part[[0, 2]] != 0).all()
  assert next(v for v, _ in seen if v.ndim == 4).dtype == np.uint8
  expected = [[True, True, False, False], [False] * 4, [True, False, False, False]]
  for view in views.values():
    np.testing.assert_array_equal(view["text_present"], present)
    np.testing.assert_array_equal(view["picture_present"], present)
    assert ("text_valid" in view) == (mode == "fixed")
    if mode == "fixed":
      np.testing.assert_array_equal(view["text_valid"], expected)
  np.testing.assert_array_equal(next(v for x, v in seen if x.ndim == 3)[:3], expected)
