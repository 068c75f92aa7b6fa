import numpy as np

from configs.sweeps import loss_terms
from synjax.report.sweeps.plots import bars
from synjax.report.sweeps.sweep import Sweep
from tests.report.sweeps.folders import ACCURACY, overrides, value, write
from tests.report.sweeps.plots.journals import SYNERGY_OF, dotted, draw, write_journal


def test_the_bars_show_means_errors_and_reference_values(tmp_path):
  description = {"reference": [{"where": {"arm": "b"}, "values": {ACCURACY: 0.6}, "source": "T"}]}
  folder = write(tmp_path, overrides(strengths=[1.0]), value)
  sweep = Sweep(folder, description)
  plot = {"name": "bars", "kind": "bars", "x": "arm", "metrics": [ACCURACY]}
  (axes,) = bars.draw(sweep, plot).axes
  np.testing.assert_allclose([p.get_height() for p in axes.patches], [74, 54])
  points = [tuple(p) for c in axes.collections for p in getattr(c, "get_offsets", list)()]
  assert (1.0, 60.0) in [tuple(map(float, p)) for p in points]


def test_bars_of_loss_terms_have_intervals_and_chance(tmp_path):
  rows = [{"arm": arm, "method.weights": [k]} for k, arm in enumerate(SYNERGY_OF)]
  figure = draw(write_journal(tmp_path, rows, lambda row: 0.9), loss_terms)
  (axes,) = figure.axes
  bars = [c for c in axes.containers if hasattr(c, "patches")]
  np.testing.assert_allclose([p.get_height() for p in bars[0].patches], [90] * 3)
  np.testing.assert_allclose([p.get_height() for p in bars[1].patches], [80, 60, 55])
  ends = bars[0].errorbar.lines[2][0].get_segments()
  np.testing.assert_allclose([segment[:, 1] for segment in ends], [[80, 95]] * 3)
  assert [level for level, _ in dotted(axes)] == [10, 50]
