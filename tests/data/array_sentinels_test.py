"""What may stand for no label, and what are classes without a question."""

import numpy as np
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


NUMBERS = np.random.default_rng(0).normal(size=40)
PRICES = np.exp(3 + NUMBERS)
ASKED_NUMBERS = {
  "-999 for some": (NUMBERS, [-999, -999], -999),
  "-999 for one": (NUMBERS, [-999], -999),
  "9999": (PRICES, [9999.0] * 3, 9999),
  "a filling at the end of the type": (NUMBERS, [-(2.0**31)] * 2, -(2.0**31)),
  "0 far below": (1000 + NUMBERS, [0, 0, 0], 0),
  "-1 below shares": (np.abs(NUMBERS) / 10, [-1, -1], -1),
  "two of them": (NUMBERS, [-999, -999, -998, -998], -999),
  "on both sides": (NUMBERS, [-999, -999, 999], -999),
  "-999 for one, below prices up to a million": (1e5 * PRICES, [-999], -999),
  "-999 beside -1": (1e5 * PRICES, [-999] * 5 + [-1] * 5, -999),
  "-999 among gains and losses": (1e5 * NUMBERS, [-999] * 3, -999),
  "the least of float32": (NUMBERS, [np.float32(-3.4028235e38)], -float(np.finfo("float32").max)),
  "among few": (NUMBERS[:5], [-999], -999),
}


@pytest.mark.parametrize("case", ASKED_NUMBERS)
def test_a_number_apart_from_those_to_predict_is_found(case):
  numbers, none, found = ASKED_NUMBERS[case]
  shuffled = np.random.default_rng(1).permutation([*numbers, *none])
  assert array_sentinels.find_among_numbers(shuffled) == found


@pytest.mark.parametrize(
  "numbers",
  [
    NUMBERS,
    PRICES,
    [*NUMBERS, 40.0],  # an outlier
    [*NUMBERS, 40.5, 40.5],
    [*NUMBERS, -1, -1, 1, 1],  # scores that were cut off
    [*np.clip(NUMBERS, -1, 1)],
    [*PRICES, 0, 0, 0],
    [*PRICES, -1.5, -1.5],
    np.arange(40) / 5,
    np.round(NUMBERS),
    np.zeros(4),
    [0.5, 7.0],
    [-3, -3, 1.2, 1.4, 1.6, 2.0],
    [-2.0, -2.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2],
    [*np.round(-60 + 20 * NUMBERS, 1), -99.0, -99.0, -99.0],  # temperatures
    [*PRICES[:8], 99.0],
  ],
)
def test_usual_numbers_are_not_asked_about(numbers):
  assert array_sentinels.find_among_numbers(np.array(numbers)) is None


def test_chance_is_not_asked_about():
  """Of data without anything missing, what was asked about, in % (split by split before, together now):

  thirds, 10 examples 2.5 -> 0, 30 examples 5.2 -> 0; gains in halves, 30 examples 11.7 -> 0.3.
  """
  rng = np.random.default_rng(0)
  draws = {
    "thirds": lambda n: rng.integers(-9, 10, n) / 3,
    "fifths": lambda n: np.clip(np.round(5 * rng.normal(0, 1.6, n)) / 5, -3, 3),
    "halves": lambda n: np.round(2 * rng.uniform(1, 10, n)) / 2,
    "gains": lambda n: np.round(2 * rng.exponential(3, n)) / 2 - 1,
  }
  for name, draw in draws.items():
    for n in (4, 6, 8, 12, 30, 60):
      asked = [array_sentinels.find_among_numbers(draw(n)) is not None for _ in range(200)]
      assert np.mean(asked) <= 0.01, (name, n)
