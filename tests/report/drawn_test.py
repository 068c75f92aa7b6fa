"""A figure of a report, in each of its forms."""

from synjax.report import drawn, paper
from synjax.report.plots.canvas import explained_legend, new_figure


def draw():
  figure = new_figure("a title", figsize=(8, 4))
  figure.subplots().plot([0, 1], [0, 1], label="CoMM")
  explained_legend(figure, "mean of 3 seeds,\nband: standard error")
  return figure


def test_the_caption_says_what_bands_are_and_every_form_has_its_own_size(tmp_path):
  image = drawn.write(draw, tmp_path, "x", what="Accuracy", style=paper.Style(["svg"], 3.25))
  assert image.caption == "Accuracy; mean of 3 seeds, band: standard error."
  assert (image.file, image.what) == ("x.png", "Accuracy") and 'viewBox="0 0 331.2' in image.svg
  assert 'viewBox="0 0 234 ' in (tmp_path / "paper" / "x.svg").read_text()
  assert image.caption in (tmp_path / "paper" / "x.tex").read_text()
  assert (tmp_path / "x.png").exists()


def test_without_values_nothing_is_written(tmp_path):
  assert drawn.write(lambda: None, tmp_path, "x", what="Accuracy") is None
  assert not list(tmp_path.iterdir())
