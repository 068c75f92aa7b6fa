"""The kinds of plots that a sweep's report may ask for. A new one is a file here and a line below."""

import importlib
from collections.abc import Mapping

from synjax.report.sweeps.plots.base import Kind

_NAMES = (
  "curve",
  "simplex",
  "bars",
  "ablation",
  "methods",
)
KINDS: Mapping[str, Kind] = {
  name: importlib.import_module(f"{__name__}.{name}").KIND for name in _NAMES
}
