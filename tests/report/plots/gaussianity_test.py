"""The plot by what is in its axes and in the file."""

import numpy as np
import pytest
from PIL import Image

from synjax.report.plots import canvas, gaussianity
from synjax.report.plots.gaussianity import PANELS, plot_gaussianity

EPOCHS = (1, 2, 4)


def make_statistics(level=0.0):
  """Examples 0, 1, ..., 8 of every statistic, plus 10 an epoch and 100 a statistic."""
  examples = np.arange(9.0) + level
  return {name: examples + 10 * np.arange(3)[:, None] + 100 * i for i, name in enumerate(PANELS)}


def make_scores():
  return np.random.default_rng(0).normal(5, [[1], [3]], size=(2, 400))


def test_lines_are_medians_and_bands_quartiles():
  figure = plot_gaussianity(EPOCHS, make_statistics(), make_scores(), title="run, test split")
  assert figure.get_suptitle().endswith(": run, test split")
  panels = figure.axes[:5]
  assert [axes.get_ylabel() for axes in panels] == list(PANELS.values())
  for i, axes in enumerate(panels):
    line = axes.get_lines()[0]
    np.testing.assert_array_equal(line.get_xdata(), EPOCHS)
    np.testing.assert_allclose(line.get_ydata(), 100 * i + 4 + np.array([0, 10, 20]))
    (band,) = axes.collections
    vertices = band.get_paths()[0].vertices
    at_2 = vertices[vertices[:, 0] == 2][:, 1]
    assert (at_2.min(), at_2.max()) == (100 * i + 12, 100 * i + 16)


def test_reference_is_a_second_line_named_in_the_legend():
  figure = plot_gaussianity(EPOCHS, make_statistics(), make_scores(), reference=make_statistics(1))
  first, second = figure.axes[2].get_lines()[:2]
  np.testing.assert_allclose(second.get_ydata(), first.get_ydata() + 1)
  assert second.get_color() == "black"
  assert [len(axes.collections) for axes in figure.axes[:5]] == [2, 2, 2, 2, 1]
  texts = [text.get_text() for text in figure.legends[0].get_texts()]
  assert texts == ["masked views", "normal draws of the same variance and number"]


def test_nan_examples_are_left_out_and_an_epoch_of_them_is_a_hole():
  values = np.array([[1.0, np.nan, 3, 2], [np.nan] * 4])
  np.testing.assert_array_equal(
    gaussianity.quartiles(values), [[1.5, np.nan], [2, np.nan], [2.5, np.nan]]
  )


def test_scores_are_standardised_example_by_example_and_constant_ones_left_out():
  scores = np.array([[1.0, 3.0], [10.0, 30.0], [7.0, 7.0]])
  np.testing.assert_allclose(gaussianity.standardise(scores), [-1, 1, -1, 1])


def test_histogram_is_a_density_beside_the_normal_one():
  figure = plot_gaussianity(EPOCHS, make_statistics(), make_scores())
  axes = figure.axes[5]
  (stairs,) = axes.patches
  values, edges, _ = stairs.get_data()
  assert (values * np.diff(edges)).sum() == pytest.approx(1)
  (line,) = axes.get_lines()
  assert line.get_ydata().max() == pytest.approx(1 / np.sqrt(2 * np.pi))
  center = values[len(values) // 2 - 3 : len(values) // 2 + 3].mean()
  assert center == pytest.approx(0.39, abs=0.08)
  assert axes.get_title() == "epoch 4, 800 scores"
  outlier = np.concatenate([np.zeros(99) + [0.0], [1.0]])[None]
  axes = plot_gaussianity(EPOCHS, make_statistics(), outlier).axes[5]
  values, edges, _ = axes.patches[0].get_data()
  assert (values * np.diff(edges)).sum() == pytest.approx(0.99)
  assert axes.get_title() == "epoch 4, 100 scores, 1 beyond ±5"


def test_file_is_a_png_of_that_size(tmp_path):
  path, first = tmp_path / "g.png", {name: rows[:1] for name, rows in make_statistics().items()}
  canvas.save(plot_gaussianity([3], first, make_scores()), path)
  with Image.open(path) as image:
    assert image.format == "PNG"
    assert image.size == (1650, 930)
    assert len(np.unique(np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0)) > 10


@pytest.mark.parametrize(
  ("epochs", "change", "message"),
  [
    ((), {}, "epochs = 0"),
    ((1, 2), {}, "epochs = 2"),
    (EPOCHS, {"ks": np.zeros(3)}, r"'ks': \(3,\)"),
  ],
)
def test_wrong_arrays_are_named(epochs, change, message):
  with pytest.raises(ValueError, match=message):
    plot_gaussianity(epochs, make_statistics() | change, make_scores())


def test_a_missing_statistic_is_named():
  statistics = make_statistics()
  del statistics["gap"]
  with pytest.raises(ValueError, match=r"'gap': None"):
    plot_gaussianity(EPOCHS, statistics, make_scores())
