import math

import numpy as np

from synjax.report.sweeps.plots import curve
from synjax.report.sweeps.sweep import Sweep
from tests.report.sweeps.folders import CURVE, DESCRIPTION, overrides, value, write


def test_the_curve_shows_means_bands_reference_points_and_chance(tmp_path):
  sweep = Sweep(write(tmp_path, overrides(), value), DESCRIPTION)
  figure = curve.draw(sweep, CURVE)
  (axes,) = figure.axes
  lines = {line.get_label(): line for line in axes.lines}
  np.testing.assert_allclose(lines["a"].get_xydata(), [[0, 84], [1, 74]])
  np.testing.assert_allclose(lines["b"].get_ydata(), [64, 54])
  np.testing.assert_allclose(lines["chance 50.0"].get_ydata(), [50, 50])
  band = axes.collections[0].get_paths()[0].vertices[:, 1]
  error = math.sqrt(28 / 3)
  np.testing.assert_allclose([band.max(), band.min()], [84 + error, 74 - error])
  offsets = [tuple(p) for c in axes.collections if len(c.get_offsets()) for p in c.get_offsets()]
  assert (1.0, 75.0) in [tuple(map(float, p)) for p in offsets]
  assert figure.legends[0].get_title().get_text().startswith("mean of 3 seeds")
