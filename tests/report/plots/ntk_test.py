import numpy as np

from synjax.report.plots import ntk
from tests.report.workdirs import group_of, log, make_workdir


def test_strengths_and_alignments_are_drawn_over_steps_and_no_logarithm_of_zero(tmp_path):
  names = [f"train/ntk/{name}" for name in ("strength/synergy", "alignment/synergy/unique1")]
  values = [(10, 0.5, -0.25), (20, 0.0, 0.5)]
  rows = [{"step": s, names[0]: strength, names[1]: angle} for s, strength, angle in values]
  group = group_of(log(make_workdir(tmp_path / "a"), rows))
  assert ntk.PLOT.when(group)
  left, right = ntk.draw(group).axes
  (line,) = left.get_lines()
  assert line.get_label() == "synergy" and left.get_yscale() == "log"
  np.testing.assert_array_equal(line.get_ydata(), [0.5, np.nan])
  pair = right.get_lines()[0]
  assert pair.get_label() == "synergy · unique1"
  np.testing.assert_array_equal(pair.get_xydata(), [[10, -0.25], [20, 0.5]])


def test_a_run_without_an_ntk_has_no_plot_of_it(tmp_path):
  group = group_of(make_workdir(tmp_path / "a"))
  assert not ntk.PLOT.when(group) and ntk.draw(group) is None
