"""The comparison of a sweep's methods, see `comparison_plot`."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from synjax.report.comparison_plot import draw_comparison
from synjax.report.sweeps.plots.base import Kind, title_of

if TYPE_CHECKING:
  from matplotlib.figure import Figure

  from synjax.report.sweeps.sweep import Sweep


def draw(sweep: "Sweep", plot: Mapping[str, Any]) -> "Figure | None":
  """Plots `Sweep.comparison`; None without one."""
  comparison = sweep.comparison
  return None if comparison is None else draw_comparison(comparison, title_of(sweep, plot))


KIND = Kind((), draw)
