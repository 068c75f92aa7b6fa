import numpy as np

from synjax.report.sweeps.plots import bars
from synjax.report.sweeps.sweep import Sweep
from tests.report.sweeps.folders import ACCURACY, overrides, value, write


def test_the_bars_show_means_errors_and_reference_values(tmp_path):
  description = {"reference": [{"where": {"arm": "b"}, "values": {ACCURACY: 0.6}, "source": "T"}]}
  folder = write(tmp_path, overrides(strengths=[1.0]), value)
  sweep = Sweep(folder, description)
  plot = {"name": "bars", "kind": "bars", "x": "arm", "metrics": [ACCURACY]}
  (axes,) = bars.draw(sweep, plot).axes
  np.testing.assert_allclose([p.get_height() for p in axes.patches], [74, 54])
  points = [tuple(p) for c in axes.collections for p in getattr(c, "get_offsets", list)()]
  assert (1.0, 60.0) in [tuple(map(float, p)) for p in points]
