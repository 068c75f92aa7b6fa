"""Accuracy and costs against a field, by what the plot's lines hold."""

import numpy as np

from configs.sweeps import mask_ratio, num_views
from synjax.sweeps.file import Hyper
from tests.report.sweeps.plots.journals import dotted, draw, write_journal


def whiskers(axes, number):
  """Ends of an error bar's whiskers, [points, 2]."""
  segments = axes.containers[number].lines[2][0].get_segments()
  return np.array([segment[:, 1] for segment in segments])


def test_accuracy_against_k_stands_beside_time_and_memory(tmp_path):
  rows = [{"method.num_views": k} for k in (8, 1, 2)]  # costs 1, 2, 3
  figure = draw(
    write_journal(tmp_path, rows, lambda row: 0.5 + row["method.num_views"] / 100), num_views
  )
  accuracy, seconds, memory = figure.axes
  for axes in figure.axes:
    assert axes.get_xscale() == "log"
    assert axes.xaxis.get_transform().base == 2
    assert axes.get_xlabel() == "masked views K"
    assert [t for t in axes.get_xticks() if 1 <= t <= 8] == [1, 2, 8]
  shape, synergy = (container.lines[0] for container in accuracy.containers)
  np.testing.assert_array_equal(shape.get_xdata(), [1, 2, 8])
  np.testing.assert_allclose(shape.get_ydata(), [51, 52, 58])
  np.testing.assert_allclose(whiskers(accuracy, 0), [[41, 56], [42, 57], [48, 63]])
  np.testing.assert_allclose(synergy.get_ydata(), [70] * 3)
  assert dotted(accuracy) == [(10, "chance 10.0: shape"), (50, "chance 50.0: synergy")]
  np.testing.assert_array_equal(seconds.get_lines()[0].get_xdata(), [1, 2, 8])
  np.testing.assert_allclose(seconds.get_lines()[0].get_ydata(), [4, 6, 2])  # ms
  np.testing.assert_allclose(memory.get_lines()[0].get_ydata(), [2, 3, 1])  # MiB
  assert "ms" in seconds.get_ylabel()
  assert "MiB" in memory.get_ylabel()
  assert "over test examples" in figure.legends[0].get_title().get_text()
  last = draw(tmp_path, num_views, number=1).axes[0].containers[0].lines[0]
  np.testing.assert_allclose(last.get_ydata(), [31, 32, 38])


def test_whiskers_over_seeds_are_standard_errors(tmp_path):
  values = {0: 0.80, 1: 0.82, 2: 0.90}  # mean 84, std sqrt(28), see report/sweeps/averages_test
  rows = Hyper.sweep("method.mask_ratio", (0.3, 0.9))
  folder = write_journal(tmp_path, rows, lambda row: values[row["seed"]], seeds=values)
  figure = draw(folder, mask_ratio)
  (axes,) = figure.axes
  line = axes.containers[0].lines[0]
  np.testing.assert_array_equal(line.get_xdata(), [0.3, 0.9])
  np.testing.assert_allclose(line.get_ydata(), [84, 84])
  error = np.sqrt(28 / 3)
  np.testing.assert_allclose(whiskers(axes, 0), [[84 - error, 84 + error]] * 2)
  assert axes.get_xscale() == "linear"
  assert "mean of 3 seeds" in figure.legends[0].get_title().get_text()
