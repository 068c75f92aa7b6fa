"""Accuracy of every task against one field, and what a step costs."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from synjax.report.plots.canvas import LINE_COLORS, LINE_STYLES, explained_legend, tell_apart
from synjax.report.sweeps.plots.base import (
  MARKERS,
  Kind,
  draw_chance,
  sweep_figure,
  whisker_text,
)

if TYPE_CHECKING:
  from matplotlib.figure import Figure
  from matplotlib.lines import Line2D

  from synjax.report.sweeps.sweep import Sweep


def draw(sweep: "Sweep", plot: Mapping[str, Any]) -> "Figure | None":
  """Plots metrics over a numeric field, a line each, and beside them costs over the same field.

  Args:
    sweep: what is there.
    plot: "x", "metrics", and maybe "costs" (of `description.COSTS`; left out where not measured),
      "log2" (x on a logarithmic axis, and so the costs: one that is proportional to x is a straight
      line of slope 1), "chance", "xlabel", "which", "where".

  Returns:
    The figure, None without values.
  """
  which, where, field = plot.get("which", "best"), plot.get("where"), plot["x"]
  found = {m: sweep.cells([field], m, which, where=where) for m in plot["metrics"]}
  cells = {(metric, *key): s for metric, own in found.items() for key, s in own.items()}
  if not cells:
    return None
  measured = {
    cost: sweep.cells([field], cost, which, where=where) for cost in plot.get("costs", ())
  }
  measured = {cost: own for cost, own in measured.items() if own}
  figure = sweep_figure(sweep, plot, figsize=(7.5 + 3.2 * len(measured), 4.2))
  ratios = [1.4] + [1] * len(measured)
  accuracy, *others = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
  drawn: list[bool] = []
  lines: list[Line2D] = []
  for i, (metric, own) in enumerate(found.items()):
    x = sorted(key[0] for key in own)
    mean = np.array([own[v,].mean for v in x])
    ends = sweep.intervals([field], metric, which, where=where)
    low, high = np.array([ends[v,] for v in x]).T
    drawn += list(low < high)
    line, *_ = accuracy.errorbar(
      x, mean, yerr=np.maximum([mean - low, high - mean], 0), label=sweep.label(metric), capsize=2,
      color=LINE_COLORS[i % 6], linestyle=LINE_STYLES[i % 4], marker=MARKERS[i % 6], markersize=4,
    )  # fmt: skip
    lines.append(line)
  tell_apart(lines)
  draw_chance(sweep, accuracy, plot)
  accuracy.set_ylabel(sweep.unit(plot["metrics"]))
  for axes, (cost, own) in zip(others, measured.items(), strict=True):
    x = sorted(key[0] for key in own)
    axes.plot(x, [own[v,].mean for v in x], color="black", marker="o", markersize=4)
    axes.set_ylabel(sweep.label(cost))
  for axes in (accuracy, *others):
    axes.set_xlabel(plot.get("xlabel", field))
    axes.grid(alpha=0.3)
  if plot.get("log2"):
    values = sorted({key[0] for own in found.values() for key in own})
    _use_powers_of_2(accuracy, others, values)
  explained_legend(figure, whisker_text(cells.values(), drawn))
  return figure


def _use_powers_of_2(accuracy, costs, values) -> None:
  """Puts logarithmic axes of base 2 under all panels, with ticks at `values`, and beside the costs."""
  from matplotlib.ticker import FuncFormatter

  plain = FuncFormatter(lambda value, _: f"{value:g}")
  for axes in (accuracy, *costs):
    axes.set_xscale("log", base=2)
    axes.xaxis.set_ticks(values)
    axes.xaxis.set_major_formatter(plain)
    axes.tick_params(axis="x", labelsize=8)
  for axes in costs:
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(plain)


KIND = Kind(("x", "metrics"), draw)
