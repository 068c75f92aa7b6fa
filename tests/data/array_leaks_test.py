"""Features that give the label away, against what was planted."""

import numpy as np

from synjax.data import array_leaks
from tests.data.archives import add, load, write


def test_features_that_follow_few_examples_by_chance_are_no_copies():
  rng = np.random.default_rng(0)
  label = (np.arange(200) < 2).astype(int)  # two examples of one class
  words = (rng.random((200, 4000)) < 0.01).astype(np.float32)
  words[:, 7] = label
  assert not len(array_leaks.copies(words, label))
  label = rng.integers(0, 3, 5000)
  features = rng.integers(0, 2, (5000, 5)).astype(np.float32)
  features[:, 3] = label == 1
  np.testing.assert_array_equal(array_leaks.copies(features, label), [3])
  features[4999, 3] = 1 - features[4999, 3]  # beyond the examples that are looked at first
  assert not len(array_leaks.copies(features, label))


def test_features_in_the_order_of_a_number_to_predict_are_copies_and_near_ones_are_not():
  rng = np.random.default_rng(0)
  label = rng.normal(size=(300, 2)).astype(np.float32)
  features = rng.normal(size=(300, 6)).astype(np.float32)
  features[:, 1] = np.exp(3 * label[:, 1])
  features[:, 4] = -(label[:, 0] ** 3)
  features[:, 5] = label[:, 0] + 0.05 * features[:, 5]  # a good feature
  np.testing.assert_array_equal(array_leaks.copies(features, label), [1, 4])
  assert not len(array_leaks.copies(features[:40], label[:40]))  # may be the order of a near one
  last = np.arange(2000)[:, None] * np.ones((1, 2))
  late = np.where(last[:, :1] < 1500, last[:, :1] ** 3, -last[:, :1])
  assert not len(array_leaks.copies(late, last.astype(np.float32)))
  flat_at_first = np.maximum(last, 200).astype(np.float32)
  np.testing.assert_array_equal(
    array_leaks.copies(np.sqrt(flat_at_first[:, :1]), flat_at_first), [0]
  )


def test_a_feature_in_the_order_of_few_numbers_is_said_where_it_is_no_chance(tmp_path):
  rng = np.random.default_rng(0)
  label = rng.normal(size=(20, 2))
  features = np.c_[rng.normal(size=(20, 2)), np.exp(-label[:, 1]), label[:, 0] ** 2]
  np.testing.assert_array_equal(array_leaks.in_order(features, label), [2])
  assert not len(array_leaks.in_order(features[:7], label[:7]))
  assert not len(array_leaks.in_order(np.tile(features[:8], 2000), label[:8]))
  few = np.round(label)  # such as -1, 0 and 1
  assert not len(array_leaks.in_order(few, few))
  folder = write(tmp_path, add(label=lambda f: np.exp(f["table"][:, 0])))
  said = load(folder).facts["label in table"]
  assert said.startswith("1 of its 4 features, such as [0], are in the order of the label")
