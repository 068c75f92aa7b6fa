"""Figures for papers, by what is in their files."""

import re
import struct

import pytest
from matplotlib.text import Text

from synjax import report
from synjax.report import paper
from synjax.report.plots.canvas import new_figure
from tests.report.workdirs import make_workdir


def draw():
  figure = new_figure("config 1234abcd, seed 42", figsize=(11, 4))
  for axes in figure.subplots(1, 2):
    axes.plot([0, 1], [0, 1], label="CoMM")
    axes.set_title("a title that is longer than a panel is wide", fontsize=4)
    axes.set_xlabel("steps of the optimizer over all epochs", fontsize=12)
  figure.legend(*axes.get_legend_handles_labels(), loc="outside center right", fontsize=5)
  return figure


def test_it_is_as_wide_as_a_column_and_legible(tmp_path):
  figure = draw()
  pdf, svg, png = paper.Style(["pdf", "svg", "png"], 3.25).write_figure(figure, tmp_path, "x")
  box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf.read_bytes())
  assert float(box[1]) == pytest.approx(3.25 * 72)
  assert struct.unpack(">I", png.read_bytes()[16:20])[0] == round(3.25 * 300)
  text = svg.read_text()
  assert "CoMM" in text and "1234abcd" not in text  # letters, and no title
  sizes = {t.get_fontsize() for t in figure.findobj(Text) if t.get_text()}
  assert min(sizes) >= 7 and max(sizes) <= 8
  # Nothing lies outside of the figure, nor one panel's words on the other's.
  renderer = figure.canvas.get_renderer()
  left, right = [a.title.get_window_extent(renderer) for a in figure.axes]
  assert left.x1 <= right.x0 and left.x0 >= 0 and right.x1 <= figure.bbox.x1


@pytest.mark.parametrize(("formats", "width"), [(["gif"], 3.25), ([], 3.25), (["pdf"], 0)])
def test_what_is_wrong_is_refused(formats, width):
  with pytest.raises(ValueError, match="--format, --width: expected some of pdf, svg, png"):
    paper.Style(formats, width)


def test_a_report_has_figures_and_tables_in_a_folder_of_their_own(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  path = report.write_report([workdir], tmp_path / "out", {}, style=paper.Style())
  found = sorted(file.name for file in (path.parent / "paper").iterdir())
  assert found == [
    *("1_infmasking_accuracy.pdf", "1_infmasking_losses.pdf"),
    *("table_1.csv", "table_1.tex"),
  ]
