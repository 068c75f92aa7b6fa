"""A metric over three mixture fields, a triangle an arm."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synjax.report.names import shown_labels
from synjax.report.sweeps.plots.base import Kind, sweep_figure

if TYPE_CHECKING:
  from matplotlib.figure import Figure

  from synjax.report.sweeps.sweep import Sweep


def draw(sweep: "Sweep", plot: Mapping[str, Any]) -> "Figure | None":
  """Plots the mean of a metric over three mixture fields as hexagons, one triangle an arm.

  A point of the simplex stands at its barycentric place: left, right and top corner are the first,
  second and third field. Points without values (yet) are left white.
  """
  from matplotlib.collections import PolyCollection

  metric, which, fields = plot["metric"], plot.get("which", "best"), plot["fields"]
  cells = sweep.cells([plot["panel"], *fields], metric, which, where=plot.get("where"))
  cells = {key: found for key, found in cells.items() if found.n}
  if not cells:
    return None
  points = [[row.get(name) for name in fields] for row in sweep.declared.values()]
  levels = np.unique(np.round([v for point in points for v in point if v is not None], 9))
  step = np.diff(levels).min() if len(levels) > 1 else 1.0
  names = list(dict.fromkeys(key[0] for key in cells))
  columns = min(len(names), 4)
  lines = math.ceil(len(names) / columns)
  figure = sweep_figure(sweep, plot, figsize=(2.6 * columns + 1.2, 2.7 * lines + 0.5))
  panels = figure.subplots(lines, columns, squeeze=False).ravel()
  means = [found.mean for found in cells.values()]
  low, high = (
    (sweep.factor(metric) * v for v in plot["range"])
    if "range" in plot
    else (min(means), max(means))
  )
  angles = np.pi / 6 + np.arange(6) * np.pi / 3
  hexagon = step / math.sqrt(3) * np.stack([np.cos(angles), np.sin(angles)], axis=1)
  for axes in panels:
    axes.axis("off")
  for axes, name, title in zip(panels, names, shown_labels(names), strict=False):
    own = {key[1:]: found.mean for key, found in cells.items() if key[0] == name}
    tiles = [hexagon + [b + c / 2, c * math.sqrt(3) / 2] for _, b, c in own]
    drawn = PolyCollection(tiles, array=list(own.values()), cmap="viridis", clim=(low, high))
    axes.plot([0, 1, 0.5, 0], [0, 0, math.sqrt(3) / 2, 0], color="lightgray", linewidth=1, zorder=0)
    axes.add_collection(drawn)
    _label_corners(axes, plot.get("labels", fields), step)
    axes.set_title(title, fontsize=9)
  # A colour at an end of a given range can stand for values beyond it: the bar says so.
  ends = {(True, False): "min", (False, True): "max", (True, True): "both"}
  extend = ends.get((min(means) < low, max(means) > high), "neither")
  bar = figure.colorbar(drawn, ax=list(panels), shrink=0.8, extend=extend)
  bar.set_label(f"{sweep.label(metric)}, mean over seeds", fontsize=8)
  return figure


def _label_corners(axes, labels: Sequence[str], step: float) -> None:
  """Names the corners of a triangle and leaves room for the names."""
  margin = 0.06 + 0.6 * step
  axes.set(xlim=(-0.2, 1.2), ylim=(-0.12 - margin, 0.98 + margin), aspect="equal")
  axes.text(-0.1, -margin, labels[0], ha="left", va="top", fontsize=7)
  axes.text(1.1, -margin, labels[1], ha="right", va="top", fontsize=7)
  axes.text(0.5, math.sqrt(3) / 2 + margin, labels[2], ha="center", va="bottom", fontsize=7)


KIND = Kind(("fields", "panel", "metric"), draw)
