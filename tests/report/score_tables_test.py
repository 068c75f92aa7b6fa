"""What launch.evaluate prints, against numbers worked out by hand."""

import numpy as np

from synjax.report import score_tables


def scored(name, *values, low=None, high=None):
  """Returns a score of seeds 3, 4, ... with the ends of its interval."""
  found = {name: values, f"{name}_low": low, f"{name}_high": high}
  return {
    n: {str(3 + i): value for i, value in enumerate(v if isinstance(v, tuple) else (v,))}
    for n, v in found.items()
    if v is not None
  }


def render(*scores, dataset="arrays", chance=None):
  joined = {name: values for part in scores for name, values in part.items()}
  return score_tables.render(joined, chance=chance or {}, dataset=dataset)


def rows(text):
  """Returns the cells of the tables' lines: two spaces part them."""
  return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in text.splitlines()]


SUBSETS = (
  scored("test/a/macro_accuracy", 0.75, low=0.7, high=0.8),
  scored("test/mean/macro_accuracy", 0.75),
  scored("test/a/cost", 100.0),
  scored("test/a/converged", 1.0),
  scored("test/a/knn_macro_accuracy", 0.5),
  scored("test/without_x1/a/macro_accuracy", 0.6, low=0.5, high=0.7),
)
OF_SUBSETS = (
  scored("subset/x2/a/macro_accuracy", 0.6, low=0.5, high=0.7),
  scored("subset/x1+x2/a/macro_accuracy", 0.75, low=0.7, high=0.8),
  scored("subset/x1+x2/a/cost", 100.0),
)


def test_tasks_have_a_row_each_and_how_a_probe_was_fitted_none():
  found = rows(render(*SUBSETS, chance={"a": 0.5}))
  assert found[2:4] == [
    ["task", "chance", "macro accuracy", "k-NN macro accuracy"],
    ["a", "50.0", "75.0 [70.0, 80.0]", "50.0"],
  ]
  worth = "60.0 [50.0, 70.0], not above chance"
  assert found[5:] == [["macro accuracy with", "a"], ["all without x1", worth]]
  assert "not above" not in render(*SUBSETS, chance={"a": 0.49})


def test_what_a_subset_is_worth_is_said_once():
  text = render(*SUBSETS, *OF_SUBSETS)
  assert rows(text)[5:] == [
    ["macro accuracy with", "a"],
    ["x2", "60.0 [50.0, 70.0]"],
    ["x1 + x2", "75.0 [70.0, 80.0]"],
  ]
  assert "without" not in text and "cost" not in text
  assert len(text.splitlines()) < 12


def test_several_seeds_have_a_deviation_and_those_without_a_probe_no_number():
  text = render(
    scored("test/a/macro_accuracy", 0.90, 0.92, 0.97),
    scored("test/b/macro_accuracy", 0.90, 0.92, 0.94),
    scored("test/mean/macro_accuracy", 0.90, 0.92, 0.955),
    scored("test/without_x1/a/macro_accuracy", np.nan, np.nan, np.nan),
    scored("test/without_x1/a/left_out", 7.0, 7.0, 7.0),
  )
  # 90, 92, 97: mean 93, squared deviations 9 + 1 + 16 = 26, over 2: 13, root 3.606.
  assert "93.0 ± 3.6" in text and "over 3 seeds" in text
  assert rows(text)[2:6] == [
    ["task", "macro accuracy"],
    ["a", "93.0 ± 3.6"],
    ["b", "92.0 ± 2.0"],
    ["mean", "92.5 ± 2.8"],
  ]
  assert rows(text)[-1] == ["all without x1", "n/a, 7 left out"]


def test_errors_have_their_unit_and_a_table_of_their_own():
  scores = (
    scored("test/pose/mse", 0.00015, low=0.0001, high=0.0002),
    scored("test/pose/mse_1e4", 1.5),
    scored("test/pose/r2", 0.5),
    scored("test/pose/alpha", 1e-6),
    scored("subset/force/pose/mse", 0.0003),
    scored("test/a/macro_accuracy", 0.75),
  )
  found = rows(render(*scores, dataset="vision_touch"))
  assert ["task", "mse x 1e4", "r2"] in found and ["pose", "1.50 [1.00, 2.00]", "0.500"] in found
  assert found[-2:] == [["mse x 1e4 with", "pose"], ["force", "3.00"]]
  assert ["pose", "0.000150 [0.000100, 0.000200]", "0.500"] in rows(render(*scores))


def test_scores_of_a_part_of_the_examples_are_listed_with_what_they_are_in():
  text = render(
    scored("test/a/accuracy", 0.75),
    scored("test/a/synergy_subset/accuracy", 0.25, low=0.125, high=0.5),
    scored("test/a/synergy_subset/size", 40.0),
    scored("test/a/pid/synergy", 0.4186),
    scored("test/a/pid/synergy_null", 0.0123),
    scored("test/a/pid/synergy_null_std", 0.002),
  )
  assert rows(text)[-3:] == [
    ["a: synergy subset accuracy", "25.0 [12.5, 50.0]"],
    ["a: synergy subset size", "40"],
    ["a: pid synergy", "0.419 bits, of shuffled labels 0.0123 ± 0.002"],
  ]
