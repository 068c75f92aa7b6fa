"""The plots of a report. A new one is a file here, with its `PLOT`, and a line below."""

import importlib

from synjax.report.plots.base import Plot

_NAMES = (  # in the report's order
  "losses",
  "accuracy",
  "errors",
  "projection",
  "sources",
  "ntk",
  "gaussianity",
)
PLOTS: tuple[Plot, ...] = tuple(importlib.import_module(f"{__name__}.{n}").PLOT for n in _NAMES)
