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
