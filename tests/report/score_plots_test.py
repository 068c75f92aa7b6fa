"""Plots of what launch.evaluate scored: which files are written, and of what."""

import numpy as np
import pytest
from PIL import Image

from synjax.report import score_plots
from synjax.report.plots import canvas

OF_TEST = {"test/shape/macro_accuracy": np.array([0.25]), "train/loss": np.array([1.0])}
OF_SUBSETS = {
  f"subset/{modalities}/shape/macro_accuracy{end}": np.array([value + off])
  for modalities, value in (("image", 0.4), ("image+sound", 0.7))
  for end, off in (("", 0), ("_low", -0.1), ("_high", 0.1))
}


def test_subsets_are_drawn_where_they_were_scored_beside_other_scores(tmp_path, monkeypatch):
  drawn = []
  save = lambda figure, path: (drawn.append(figure), save_png(figure, path))  # noqa: E731
  save_png = canvas.save
  monkeypatch.setattr(canvas, "save", save)
  found = score_plots.write_score_plots(
    tmp_path,
    OF_TEST | OF_SUBSETS,
    chance={"shape": 0.2},
    title="run of 2 modalities",
    num_examples=40,
  )
  assert found == [tmp_path / "subsets.png"] == list(tmp_path.iterdir())
  with Image.open(found[0]) as image:
    assert image.format == "PNG"
  (figure,) = drawn
  (axes,) = figure.axes
  np.testing.assert_allclose([bar.get_width() for bar in axes.patches], [40, 70])
  assert [20, 20] in [list(line.get_xdata()) for line in axes.lines]
  assert "run of 2 modalities" in figure.get_suptitle()


@pytest.mark.parametrize("scores", [OF_TEST, {}])
def test_scores_that_have_no_plot_write_nothing(tmp_path, scores):
  found = score_plots.write_score_plots(tmp_path, scores, chance={}, title="run", num_examples=40)
  assert found == [] == list(tmp_path.iterdir())
