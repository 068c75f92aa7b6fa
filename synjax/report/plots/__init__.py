"""The plots of a report, in its order. A new one is a file here and a line below."""

from synjax.report.plots import accuracy, errors, gaussianity, losses, ntk, projection, sources
from synjax.report.plots.base import Plot

PLOTS: tuple[Plot, ...] = (
  losses.PLOT,
  accuracy.PLOT,
  errors.PLOT,
  projection.PLOT,
  sources.PLOT,
  ntk.PLOT,
  gaussianity.PLOT,
)
