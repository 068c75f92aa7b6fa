"""Figures at another width, by what is in the SVG and where it is drawn."""

import io
import re

import pytest
from matplotlib.text import Text

from synjax.report.plots.canvas import new_figure
from synjax.report.restyle import restyle

WIDTH = 3.25


def two_panels():
  figure = new_figure("config 1234abcd, seed 42", figsize=(11, 4))
  for axes in figure.subplots(1, 2):
    axes.plot([0, 1], [0, 1], label="CoMM")
    axes.set_title("a title that is longer than a panel is wide", fontsize=4)
    axes.set_xlabel("steps of the optimizer over all epochs", fontsize=12)
  figure.legend(*axes.get_legend_handles_labels(), loc="outside center right", fontsize=5)
  return figure


def curves():
  figure = new_figure("title", figsize=(8, 4.5))
  axes = figure.subplots()
  axes.set(xlabel="step", ylabel="a label that is longer than the narrow panel of a column is high")
  for i in range(6):
    axes.plot([10.2, 20.5], [i, 80], label=f"accuracy of the task number {i}")
  figure.legend(title="band: mean ± std", loc="outside center right")
  return figure


@pytest.mark.parametrize("draw", [two_panels, curves])
def test_letters_are_7_to_8_points_and_inside(draw):
  figure = draw()
  figure.canvas.draw()  # ticks that were there before are made anew
  restyle(figure, WIDTH)
  file = io.StringIO()
  figure.savefig(file, format="svg")
  text = file.getvalue()
  assert f'width="{WIDTH * 72:g}pt"' in text and "1234abcd" not in text
  figure.canvas.draw()
  shown = [t for t in figure.findobj(Text) if t.get_text().strip() and t.get_visible()]
  assert {t.get_fontsize() for t in shown} <= {7.0, 8.0}
  renderer, box = figure.canvas.get_renderer(), figure.bbox
  labels = (axis for axes in figure.axes for axis in (axes.xaxis.label, axes.yaxis.label))
  inside = [label for label in labels if label.get_text()]
  for found in (t.get_window_extent(renderer) for t in [*inside, *figure.legends]):
    assert found.x0 >= -1 and found.y0 >= -1 and found.x1 <= box.x1 + 1 and found.y1 <= box.y1 + 1
  for axes in figure.axes:
    assert figure.legends[0].get_window_extent().y1 <= axes.get_window_extent().y0


def test_panels_words_do_not_lie_on_each_other():
  figure = two_panels()
  restyle(figure, WIDTH)
  figure.canvas.draw()
  left, right = [a.title.get_window_extent(figure.canvas.get_renderer()) for a in figure.axes]
  assert left.x1 <= right.x0 and left.x0 >= 0 and right.x1 <= figure.bbox.x1


def test_points_and_lines_shrink_with_the_figure():
  figure = new_figure("", figsize=(6.5, 5))
  axes = figure.subplots()
  (line,), cloud = axes.plot([0, 1], [0, 1], linewidth=2), axes.scatter([0], [0], s=16)
  restyle(figure, WIDTH)
  assert line.get_linewidth() == pytest.approx(1.2)
  assert cloud.get_sizes() == pytest.approx([4])  # half as wide: a quarter of the area


def test_panels_that_would_be_too_narrow_go_into_more_rows():
  figure = new_figure("", figsize=(11, 6))
  *panels, last = figure.subplots(2, 3).ravel()
  for axes in panels:
    axes.plot([0, 1], [0, 1])
    axes.set_title("uncharacteristically")
    axes.text(0.5, 0.5, "corner")
  last.axis("off")
  restyle(figure, WIDTH)
  figure.canvas.draw()
  boxes = [axes.get_window_extent().bounds for axes in panels]
  lefts, bottoms = ({round(box[i] / 20) for box in boxes} for i in (0, 1))
  assert (len(boxes), len(lefts), len(bottoms)) == (5, 2, 3)
  assert all(box[2] > 0.7 * figure.dpi for box in boxes)
  assert {axes.get_title() for axes in panels} == {"uncharacteristically"}  # no word is broken
  assert all(axes.texts for axes in panels)


def test_names_under_bars_are_turned_where_panels_are_too_narrow():
  figure = new_figure("", figsize=(7.5, 4))
  for axes in figure.subplots(1, 2):
    axes.bar(range(4), [1, 2, 3, 4])
    axes.text(0, 1, "1.0")
    axes.set_xticks(range(4), ["InfMasking", "CoMM", "Cross", "SimCLR"])
  restyle(figure, 4.6)
  assert all(label.get_rotation() == 90 for axes in figure.axes for label in axes.get_xticklabels())
  assert not re.search("1.0", "".join(t.get_text() for axes in figure.axes for t in axes.texts))
