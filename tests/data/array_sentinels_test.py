"""What may stand for no label, and what are classes without a question."""

import pytest

from synjax.data import array_sentinels

ASKED = [
  ([-100, 0, 1, 3], -100),
  ([-100, 5, 6, 7], -100),
  ([0, 2, 5, 255], 255),
  ([-3, -2, 0, 1], -3),
  ([-1, 0, 1], -1),
  ([-1, 3, 7], -1),
  ([-1, 0], -1),
  ([-9, 2, 7, 30], -9),
  ([0, 1, 2, 80], 80),
  ([5, 6, 7, 200], 200),
  ([4, 9, 99], 99),
  ([10, 20, 2**63 - 1], 2**63 - 1),
  ([0, 255], 255),
  (["<NA>", "cat", "dog"], "<NA>"),
  (["cat", "dog", "n.a."], "n.a."),
  (["-1", "cat", "dog"], "-1"),
  (["-1", "0", "1"], "-1"),
  (["0", "1", "2", "999"], "999"),
  (["#N/A", "a"], "#N/A"),
  (["(null)", "a"], "(null)"),
  (["--", "a"], "--"),
  (["a", "not available"], "not available"),
  (["", "a"], ""),
  ([" ", "a"], " "),
  (["NaT", "a", "b"], "NaT"),
  (["a", "no_label"], "no_label"),
]


@pytest.mark.parametrize(("values", "found"), ASKED)
def test_a_value_beside_the_classes_is_found(values, found):
  assert array_sentinels.find(values) == found


CLASSES = [
  [0, 1, 2],
  [1, 2, 3, 4, 5],
  [-1, 1],
  [-2, -1, 0, 1, 2],
  [-3, 3],
  [3, 7],
  [-4, 10**12],
  [2, 17, 81],
  [1, 5, 30, 200],
  [18, 25, 35, 45, 50, 56],
  [1999, 2005, 2060],
  list(range(100)),
  list(range(1, 1001)),
  [5],
  [False, True],
  ["-1", "1"],
  ["+", "-"],
  ["0", "1", "2"],
  ["<=50K", ">50K"],
  ["*", "**", "***"],
  ["2d", "3d"],
  ["anna", "nancy", "nadal"],
  ["happy", "unknown"],
  ["banane", "mango"],
  ["😀", "😡"],
]


@pytest.mark.parametrize("values", CLASSES)
def test_usual_classes_are_not_asked_about(values):
  assert array_sentinels.find(values) is None
