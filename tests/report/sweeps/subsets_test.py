"""The table of the synergy subset, from scores of journal entries."""

import math

from synjax.report import markdown
from synjax.report.sweeps import subsets


def entry(right, **others):
  own = {"size": 4.0, "chance": 0.5, "flipped": 1.0, "accuracy": right}
  own |= {f"accuracy_{end}": right + d for end, d in (("low", -0.1), ("high", 0.1))}
  own |= {"permuted": 0.5, "permuted_low": 0.25, "permuted_high": 0.75}
  scores = {f"test/label/synergy_subset/{name}": value for name, value in own.items()}
  return {"best": scores | {f"test/label/{name}": value for name, value in others.items()}}


def test_nothing_is_shown_where_no_row_was_scored_so():
  assert subsets.subset_sections({"a": [{"best": {"test/label/accuracy": 0.5}}]}) == []


def test_a_row_shows_mean_and_spread_over_seeds_and_of_one_seed_the_interval():
  others = {"accuracy": 0.9, "half_count": 0.8, "calibration_error": 0.05}
  others |= {"strict_subset/accuracy": 0.0, "strict_subset/size": 2.0}
  others |= {"majority_subset/accuracy": math.nan, "majority_subset/size": 0.0}
  found = {"two": [entry(0.2, **others), entry(0.4, **others)], "one": [entry(0.3)]}
  text = markdown.render(subsets.subset_sections(found))
  assert (
    "| two | 2 | 4 | 50.0 | 30.0 ± 14.1 | 50.0 (25.0 to 75.0) | 100.0 ± 0.0 | 0.0 ± 0.0 (2) | n/a (0)"
    " | - | 90.0 ± 0.0 | 80.0 ± 0.0 | 5.0 ± 0.0 |"
  ) in text
  assert "| one | 1 | 4 | 50.0 | 30.0 [20.0, 40.0] |" in text
