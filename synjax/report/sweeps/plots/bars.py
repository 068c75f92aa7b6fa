"""Bars, one a value of a field and a metric."""

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from synjax.report.names import shown_labels
from synjax.report.plots.canvas import LINE_COLORS, explained_legend
from synjax.report.sweeps.averages import score
from synjax.report.sweeps.plots.base import Kind, draw_chance, sweep_figure, whisker_text

if TYPE_CHECKING:
  from matplotlib.figure import Figure

  from synjax.report.sweeps.sweep import Sweep


def _wrap(name: str) -> str:
  """Breaks the name of a bar at its commas, and what is still long between words."""
  parts = name.split(", ")
  return "\n".join(line for part in parts for line in textwrap.wrap(part, 16) or [""])


def draw(sweep: "Sweep", plot: Mapping[str, Any]) -> "Figure | None":
  """Plots bars, one a value of a field and a metric, with `Sweep.intervals` and reference values."""
  field, metrics, which = plot["x"], plot["metrics"], plot.get("which", "best")
  cells = {
    (metric, key): found
    for metric in metrics
    for (key,), found in sweep.cells([field], metric, which, where=plot.get("where")).items()
  }
  if not cells:
    return None
  names = list(dict.fromkeys(key for _, key in cells))
  figure = sweep_figure(sweep, plot, figsize=(max(7, 2.5 + 1.0 * len(names)), 4.5))
  axes = figure.add_subplot(ylabel=sweep.unit(metrics))
  width = 0.8 / len(metrics)
  label, drawn = "reference", []
  for i, metric in enumerate(metrics):
    place = [k + width * (i - (len(metrics) - 1) / 2) for k in range(len(names))]
    found = [cells.get((metric, name), score([])) for name in names]
    ends = {
      key: e
      for (key,), e in sweep.intervals([field], metric, which, where=plot.get("where")).items()
    }
    spans = np.array([ends.get(n, (s.mean, s.mean)) for n, s in zip(names, found, strict=True)])
    drawn += list(spans[:, 0] < spans[:, 1])
    errors = np.nan_to_num(np.abs(spans.T - [s.mean for s in found]))
    axes.bar(
      place, [s.mean for s in found], width * 0.92, label=sweep.label(metric), yerr=errors,
      color=LINE_COLORS[i % 6], alpha=0.75, error_kw={"elinewidth": 1.2, "capsize": 3},
    )  # fmt: skip
    for x, s in zip(place, found, strict=True):
      if s.n:
        axes.text(
          x, 1, sweep.text(s.mean, metric), ha="center", va="bottom", fontsize=7, color="white"
        )
    for x, name in zip(place, names, strict=True):
      value = sweep.reference({field: name}, metric, which)
      if value is not None:
        style = {"marker": "D", "s": 28, "facecolors": "white", "edgecolors": "black", "zorder": 4}
        axes.scatter([x], [value], label=label, **style)
        label = None
  axes.set_xticks(range(len(names)), [_wrap(name) for name in shown_labels(names)], fontsize=8)
  axes.tick_params(axis="x", rotation=30 if len(names) > 9 else 0)
  draw_chance(sweep, axes, plot)
  axes.set_axisbelow(True)
  axes.grid(alpha=0.3, axis="y")
  explained_legend(figure, whisker_text(cells.values(), drawn))
  return figure


KIND = Kind(("x", "metrics"), draw)
