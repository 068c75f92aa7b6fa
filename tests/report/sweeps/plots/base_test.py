"""What plots of sweeps share: titles, legends' words and lines of chance."""

import json

import pytest

from synjax.report.sweeps.averages import score
from synjax.report.sweeps.plots import base
from synjax.report.sweeps.sweep import Sweep
from tests.report.sweeps.folders import overrides, value, write
from tests.report.sweeps.plots.journals import SHAPE, SYNERGY, dotted, write_journal


@pytest.mark.parametrize(
  ("plot", "title"),
  [
    ({}, "Strengths (selected step)"),
    ({"which": "last"}, "Strengths (last step)"),
    ({"which": "best", "title": "Own"}, "Own (selected step)"),
  ],
)
def test_a_title_says_what_and_which_step(tmp_path, plot, title):
  sweep = Sweep(write(tmp_path, overrides(), value), {"title": "Strengths"})
  assert base.title_of(sweep, plot) == title
  assert base.sweep_figure(sweep, plot, figsize=(2, 2)).get_suptitle() == title


def test_a_title_of_a_sweep_that_runs_says_how_much_is_there(tmp_path):
  done = lambda row: row["arm"] == "a"  # noqa: E731
  sweep = Sweep(write(tmp_path, overrides(), value, done=done), {})
  assert base.title_of(sweep, {}) == "Sweep (selected step; 6 of 12 rows done)"


@pytest.mark.parametrize(
  ("counts", "said"),
  [
    ((1, 1), "one seed"),
    ((3, 3), "mean of 3 seeds,\nband: standard error"),
    ((5, 1, 2), "mean of 1 to 5 seeds,\nband: standard error"),
  ],
)
def test_a_legend_says_of_how_many_seeds_its_means_are(counts, said):
  assert base.seeds_text([score([0.5] * n) for n in counts], "band") == said


@pytest.mark.parametrize(
  ("counts", "drawn", "ends"),
  [
    ((3, 3), (True, True), "whisker: standard error"),
    ((1, 1), (False, False), "one seed"),  # no interval was measured: nothing to explain
    ((1, 1), (True, False), "one seed,\nwhisker: 95 % interval\nover test examples"),
    ((1, 3), (True, True), "standard error;\nof one seed: 95 % interval\nover test examples"),
  ],
)
def test_a_legend_says_what_its_whiskers_are(counts, drawn, ends):
  assert base.whisker_text((score([0.5] * n) for n in counts), drawn).endswith(ends)


def draw_chance(folder, chance, plot):
  """Draws the chance level of a sweep whose tasks have these: [(height, label)]."""
  write_journal(folder, [{"arm": "all terms"}], lambda row: 0.9)
  path = folder / "rows.jsonl"
  entry = json.loads(path.read_text())
  path.write_text(json.dumps(entry | {"chance": chance}) + "\n")
  sweep = Sweep(folder, {})
  axes = base.sweep_figure(sweep, {}).subplots()
  base.draw_chance(sweep, axes, plot)
  return dotted(axes)


BOTH = {"metrics": [SHAPE, SYNERGY]}


@pytest.mark.parametrize(
  ("chance", "plot", "expected"),
  [
    ({"shape": 0.1, "synergy": 0.5}, BOTH, []),
    ({}, BOTH | {"chance": "measured"}, []),
    ({"shape": 0.3}, BOTH | {"chance": 0.25}, [(25, "chance 25.0")]),
    ({"shape": 0.3}, {"metric": SHAPE, "chance": "measured"}, [(30, "chance 30.0")]),
    (
      {"shape": 0.5, "synergy": 0.5},
      BOTH | {"chance": "measured"},
      [(50, "chance 50.0")],
    ),
    (
      {"shape": 0.1, "synergy": 0.5},
      BOTH | {"chance": "measured"},
      [(10, "chance 10.0: shape"), (50, "chance 50.0: synergy")],
    ),
  ],
)
def test_a_line_of_chance_is_named_by_its_level_and_where_they_differ_its_task(
  tmp_path, chance, plot, expected
):
  assert draw_chance(tmp_path, chance, plot) == expected
