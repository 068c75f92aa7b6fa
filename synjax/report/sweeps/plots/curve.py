"""A metric over a numeric field, a line an arm."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from synjax.report.names import shown_labels
from synjax.report.plots.canvas import LINE_COLORS, LINE_STYLES, explained_legend, tell_apart
from synjax.report.sweeps.plots.base import (
  MARKERS,
  Kind,
  draw_chance,
  seeds_text,
  sweep_figure,
)

if TYPE_CHECKING:
  from matplotlib.figure import Figure

  from synjax.report.sweeps.sweep import Sweep


def draw(sweep: "Sweep", plot: Mapping[str, Any]) -> "Figure | None":
  """Plots a metric over a numeric field: a line an arm, its standard error, reference points."""
  metric, which = plot["metric"], plot.get("which", "best")
  cells = sweep.cells([plot["line"], plot["x"]], metric, which, where=plot.get("where"))
  if not cells:
    return None
  figure = sweep_figure(sweep, plot, figsize=(8, 4.5))
  axes = figure.add_subplot(xlabel=plot.get("xlabel", plot["x"]), ylabel=sweep.label(metric))
  has_reference = False
  names, lines = list(dict.fromkeys(line for line, _ in cells)), []
  for i, (line, shown) in enumerate(zip(names, shown_labels(names), strict=True)):
    x = sorted(x for name, x in cells if name == line)
    mean, error = (np.array([getattr(cells[line, v], n) for v in x]) for n in ("mean", "error"))
    style = {"color": LINE_COLORS[i % 6], "linestyle": LINE_STYLES[i % 4], "linewidth": 1.5}
    lines += axes.plot(x, mean, label=shown, marker=MARKERS[i % 6], markersize=4, **style)
    axes.fill_between(x, mean - error, mean + error, color=style["color"], alpha=0.2, linewidth=0)
    fields = [{plot["line"]: line, plot["x"]: v} for v in x]
    known = [(f[plot["x"]], sweep.reference(f, metric, which)) for f in fields]
    known = [(v, value) for v, value in known if value is not None]
    if known:
      hollow = {"facecolors": "none", "edgecolors": style["color"], "linewidth": 1.2, "zorder": 3}
      axes.scatter(*zip(*known, strict=True), s=70, marker=MARKERS[i % 6], **hollow)
      has_reference = True
  if has_reference:
    axes.scatter([], [], s=70, facecolors="none", edgecolors="black", label="reference (hollow)")
  tell_apart(lines)
  draw_chance(sweep, axes, plot)
  axes.grid(alpha=0.3)
  explained_legend(figure, seeds_text(cells.values(), "band"))
  return figure


KIND = Kind(("x", "line", "metric"), draw)
