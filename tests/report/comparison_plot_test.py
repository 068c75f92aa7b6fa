"""The bars of any comparison; those of a sweep are drawn alike."""

from synjax.report.comparison import Comparison, every_task
from synjax.report.comparison_plot import draw_comparison
from tests.report.summary_test import CHANCE, entrant


def test_a_bar_is_as_high_as_its_mean_and_whiskers_are_its_interval():
  entrants = [entrant("A", [0.6], unique1=0.3), entrant("B", [0.8], unique1=0.2)]
  runs = [run for one in entrants for run in one.runs]
  figure = draw_comparison(Comparison(entrants, every_task(runs, CHANCE), CHANCE), "title")
  panels = [axes for axes in figure.axes if axes.patches]
  heights = [[round(bar.get_height(), 6) for bar in axes.patches] for axes in panels]
  assert heights == [[60.0, 80.0], [30.0, 20.0]]
  ends = panels[0].collections[0].get_segments()
  assert [[round(y, 6) for _, y in segment] for segment in ends][0] == [58.0, 62.0]


def test_panels_share_their_places_and_no_two_lines_look_alike():
  entrants = [entrant("A", [0.6], unique1=0.3), entrant("B", [0.8], unique1=0.2)]
  for end in (
    "",
    "_low",
    "_high",
  ):  # A's second panel is empty, as a unimodal model's on the subset
    entrants[0].runs[0].scores.pop(f"test/unique1/macro_accuracy{end}")
  entrants[1].runs[0].scores["test/unique1/baseline/majority/macro_accuracy"] = 0.25
  runs = [run for one in entrants for run in one.runs]
  figure = draw_comparison(Comparison(entrants, every_task(runs, CHANCE), CHANCE), "title")
  panels = [axes for axes in figure.axes if axes.patches]
  first, second = (
    {str(line.get_label()): line._dash_pattern for line in axes.lines if len(line.get_xdata()) == 2}
    for axes in panels
  )
  assert panels[0].get_xlim() == panels[1].get_xlim()
  assert set(second) == {"chance", "majority class"} and first["chance"] == second["chance"]
  assert second["chance"] != second["majority class"]
