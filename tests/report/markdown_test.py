"""Markdown by a table of CommonMark's and GitHub's forms."""

import pytest

from synjax.report.markdown import render
from synjax.report.sections import Code, Explorer, Heading, Image, Points, Table, Text


@pytest.mark.parametrize(
  ("section", "text"),
  [
    (Heading("Report", level=1), "# Report"),
    (Heading("Run"), "## Run"),
    (Text("A `code` word."), "A `code` word."),
    (Points(["a", "b"]), "* a\n* b"),
    (Table(["x", "y"], [[1, "p|q"]]), "| x | y |\n| --- | --- |\n| 1 | p\\|q |"),
    (Image("a.png", "losses", "Losses."), "![losses](a.png)\n\nLosses."),
    (Image("a.png", "losses"), "![losses](a.png)"),
    (Image("a.png", "losses", svg="<svg></svg>"), "![losses](a.png)"),
    (Code("python -m x"), "```\npython -m x\n```"),
    (Explorer(["x"], [[1], [2]], ["x"], ["x"], "r.csv"), "All 2 rows: [r.csv](r.csv)."),
  ],
)
def test_every_section_has_its_form(section, text):
  assert render([section]) == text
  assert render([section, Text("end")]) == f"{text}\n\nend"


def test_what_is_no_section_is_refused():
  with pytest.raises(TypeError, match="expected a section, found str"):
    render(["text"])
