import numpy as np
import pytest
from scipy import stats

from synjax.report.sweeps.plots import KINDS
from synjax.report.sweeps.sweep import Sweep
from tests.report.sweeps.tables_of_methods import A, B, write


def test_bars_have_students_intervals_and_baselines_of_all_modalities_are_lines(tmp_path):
  plot = {"name": "methods", "kind": "methods"}
  sweep = Sweep(write(tmp_path, {"comm": A, "cross": B}), {"comparison": {}, "plots": [plot]})
  (axes,) = KINDS["methods"].draw(sweep, plot).axes
  bars = [c for c in axes.containers if hasattr(c, "patches")]
  np.testing.assert_allclose([bar.patches[0].get_height() for bar in bars], [84, 64])
  for bar, values in zip(bars, (A, B), strict=True):
    ((segment,),) = (found.get_segments() for found in bar.errorbar.lines[2])
    expected = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    np.testing.assert_allclose(segment[:, 1], 100 * np.array(expected))
  labels = {line.get_label().replace("\n", " "): line.get_ydata()[0] for line in axes.get_lines()}
  lines = {label: level for label, level in labels.items() if not label.startswith("_")}
  models = {"majority class, chance": 50, "logistic regression on raw features": 70}
  assert lines == pytest.approx(models)
  (untrained,) = (c for c in axes.collections if c.get_label() == "its model, untrained")
  np.testing.assert_allclose(untrained.get_offsets(), [[0, 55], [1, 55]])
