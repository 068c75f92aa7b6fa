"""Figures for papers, by what is in their files."""

import re
import struct

import pytest

from synjax import report
from synjax.report import paper
from synjax.report.plots.canvas import new_figure
from tests.report.workdirs import make_workdir


def test_files_are_as_wide_as_a_column_and_have_letters_but_no_title(tmp_path):
  figure = new_figure("config 1234abcd, seed 42", figsize=(11, 4))
  figure.subplots().plot([0, 1], [0, 1], label="CoMM")
  figure.legend(loc="outside center right")
  style = paper.Style(["pdf", "svg", "png"], 3.25)
  pdf, svg, png = style.write_figure(figure, tmp_path, "x", "50 %")
  box = re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+) ?\]", pdf.read_bytes())
  assert float(box[1]) == pytest.approx(3.25 * 72)
  assert struct.unpack(">I", png.read_bytes()[16:20])[0] == round(3.25 * 300)
  text = svg.read_text()
  assert "CoMM" in text and "1234abcd" not in text
  assert r"\caption{50 \%}" in (tmp_path / "paper" / "x.tex").read_text()


@pytest.mark.parametrize(("formats", "width"), [(["gif"], 3.25), ([], 3.25), (["pdf"], 0)])
def test_what_is_wrong_is_refused(formats, width):
  with pytest.raises(ValueError, match="--format, --width: expected some of pdf, svg, png"):
    paper.Style(formats, width)


def test_a_report_has_figures_and_tables_in_a_folder_of_their_own(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  path = report.write_report([workdir], tmp_path / "out", {}, style=paper.Style())
  found = sorted(file.name for file in (path.parent / "paper").iterdir())
  plots = ("1_infmasking_accuracy", "1_infmasking_losses")
  assert found == [f"{p}.{end}" for p in plots for end in ("pdf", "tex")] + [
    *("table_1.csv", "table_1.tex"),
  ]
  caption = (path.parent / "paper" / "1_infmasking_losses.tex").read_text()
  assert r"\includegraphics[width=3.25in]{1_infmasking_losses}" in caption
  assert "band: mean ± std of 2 seeds." in caption
