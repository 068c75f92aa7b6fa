"""The plots of a sweep's report: curves, bars and simplexes."""

import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure

from synjax.report.ablation_plots import (
  MARKERS,
  draw_chance,
  plot_ablation,
  seeds_text,
  whisker_text,
)
from synjax.report.plots import LINE_COLORS, LINE_STYLES
from synjax.report.sweep_runs import Sweep, score


def title_of(sweep: Sweep, plot: Mapping[str, Any]) -> str:
  """Returns the title of a plot: what, which step and, while it runs, how much is there."""
  title = plot.get("title", sweep.description.get("title", "Sweep"))
  which = {"best": "selected step", "last": "last step"}[plot.get("which", "best")]
  partial = len(sweep.done) < len(sweep.declared)
  return f"{title} ({which}{'; ' + sweep.state if partial else ''})"


def _figure(sweep: Sweep, plot: Mapping[str, Any], **size) -> Figure:
  figure = Figure(layout="constrained", dpi=150, **size)
  FigureCanvasAgg(figure)
  figure.suptitle(title_of(sweep, plot), fontsize=10)
  return figure


def _legend(figure: Figure, title: str) -> None:
  figure.legend(
    title=title, loc="outside center right", fontsize=8, title_fontsize=8, frameon=False
  )


def plot_curve(sweep: Sweep, plot: Mapping[str, Any]) -> Figure | None:
  """Plots a metric over a numeric field: a line an arm, its standard error, reference points."""
  metric, which = plot["metric"], plot.get("which", "best")
  cells = sweep.cells([plot["line"], plot["x"]], metric, which, where=plot.get("where"))
  if not cells:
    return None
  figure = _figure(sweep, plot, figsize=(8, 4.5))
  axes = figure.add_subplot(xlabel=plot.get("xlabel", plot["x"]), ylabel=sweep.label(metric))
  has_reference = False
  for i, line in enumerate(dict.fromkeys(line for line, _ in cells)):
    x = sorted(x for name, x in cells if name == line)
    mean, error = (np.array([getattr(cells[line, v], n) for v in x]) for n in ("mean", "error"))
    style = {"color": LINE_COLORS[i % 6], "linestyle": LINE_STYLES[i % 4], "linewidth": 1.5}
    axes.plot(x, mean, label=str(line), marker=MARKERS[i % 6], markersize=4, **style)
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
  _draw_chance(sweep, axes, plot)
  axes.grid(alpha=0.3)
  _legend(figure, seeds_text(cells.values(), "band"))
  return figure


def _wrap(name: str) -> str:
  """Breaks the name of a bar at its commas, and what is still long between words."""
  parts = name.split(", ")
  return "\n".join(line for part in parts for line in textwrap.wrap(part, 16) or [""])


def _draw_chance(sweep: Sweep, axes, plot: Mapping[str, Any]) -> None:
  if plot.get("chance") == "measured":
    draw_chance(sweep, axes, plot.get("metrics") or [plot["metric"]])
  elif "chance" in plot:
    metric = (plot.get("metrics") or [plot["metric"]])[0]
    level = sweep.factor(metric) * plot["chance"]
    label = f"chance {sweep.text(level, metric)}"
    axes.axhline(level, color="gray", linestyle=(0, (1, 1)), linewidth=1, label=label)


def plot_bars(sweep: Sweep, plot: Mapping[str, Any]) -> Figure | None:
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
  figure = _figure(sweep, plot, figsize=(max(7, 2.5 + 1.0 * len(names)), 4.5))
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
  axes.set_xticks(range(len(names)), [_wrap(str(n)) for n in names], fontsize=8)
  axes.tick_params(axis="x", rotation=30 if len(names) > 9 else 0)
  _draw_chance(sweep, axes, plot)
  axes.set_axisbelow(True)
  axes.grid(alpha=0.3, axis="y")
  _legend(figure, whisker_text(cells.values(), drawn))
  return figure


def plot_simplex(sweep: Sweep, plot: Mapping[str, Any]) -> Figure | None:
  """Plots the mean of a metric over three mixture fields as hexagons, one triangle an arm.

  A point of the simplex stands at its barycentric place: left, right and top corner are the first,
  second and third field. Points without values (yet) are left white.
  """
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
  figure = _figure(sweep, plot, figsize=(2.6 * columns + 1.2, 2.7 * lines + 0.5))
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
  for axes, name in zip(panels, names, strict=False):
    own = {key[1:]: found.mean for key, found in cells.items() if key[0] == name}
    tiles = [hexagon + [b + c / 2, c * math.sqrt(3) / 2] for _, b, c in own]
    drawn = PolyCollection(tiles, array=list(own.values()), cmap="viridis", clim=(low, high))
    axes.plot([0, 1, 0.5, 0], [0, 0, math.sqrt(3) / 2, 0], color="lightgray", linewidth=1, zorder=0)
    axes.add_collection(drawn)
    _label_corners(axes, plot.get("labels", fields), step)
    axes.set_title(str(name), fontsize=9)
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


PLOTS: Mapping[str, Callable[[Sweep, Mapping[str, Any]], Figure | None]] = {
  "curve": plot_curve,
  "simplex": plot_simplex,
  "bars": plot_bars,
  "ablation": lambda sweep, plot: plot_ablation(sweep, plot, title_of(sweep, plot)),
}
