"""The kinds of plots that a sweep's report may ask for. A new one is a file here and a line below."""

from collections.abc import Mapping

from synjax.report.sweeps.plots import ablation, bars, curve, simplex
from synjax.report.sweeps.plots.base import Kind

KINDS: Mapping[str, Kind] = {
  "curve": curve.KIND,
  "simplex": simplex.KIND,
  "bars": bars.KIND,
  "ablation": ablation.KIND,
}
