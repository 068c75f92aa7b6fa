"""A bar for each method of a comparison, a panel a score, and lines of what must be beaten."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from synjax.report.plots.canvas import LINE_COLORS, LINE_STYLES, new_figure

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

  from synjax.report.comparison import Comparison


def draw_comparison(comparison: "Comparison", title: str) -> "Figure":
  """Plots a comparison: bars with 95 % intervals, baselines of all modalities as lines."""
  count = len(comparison.columns)
  width = 3.5 + 0.9 * len(comparison.entrants)
  figure = new_figure(title, figsize=(max(7.5, width), 0.6 + 3.4 * count))
  for i, axes in enumerate(figure.subplots(count, 1, squeeze=False)[:, 0]):
    _draw_bars(comparison, axes, i)
    _draw_baselines(comparison, axes, i)
    axes.set_ylabel(comparison.columns[i].title, fontsize=8)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
    style = {"fontsize": 7, "title_fontsize": 7, "frameon": False}
    title = "bars: mean over seeds,\nwhisker: 95 % interval"
    axes.legend(title=title, loc="center left", bbox_to_anchor=(1.01, 0.5), **style)
  return figure


def _draw_bars(comparison: "Comparison", axes: "Axes", i: int) -> None:
  """Draws a bar for each method, and its untrained model on it."""
  lines = [line for line in comparison.lines if line.kind == "method"]
  for x, line in enumerate(lines):
    value = comparison.value(line, i)
    if np.isnan(value.mean):
      continue
    ends = np.nan_to_num([[value.mean - value.low], [value.high - value.mean]])
    axes.bar(
      x, value.mean, 0.75, yerr=np.maximum(ends, 0), color=LINE_COLORS[0], alpha=0.75,
      error_kw={"elinewidth": 1.2, "capsize": 3},
    )  # fmt: skip
    text = f"{value.mean:.{value.digits}f}"
    axes.text(x, 0, text, ha="center", va="bottom", fontsize=7, color="white")
  names = [line.label for line in lines]
  axes.set_xticks(range(len(names)), names, fontsize=8, rotation=20 if len(names) > 6 else 0)
  points = [
    (names.index(name), comparison.value(line, i).mean)
    for line in comparison.lines
    for name in (line.of if line.values[i] else ())
  ]
  if points:
    style = {"marker": "D", "s": 24, "facecolors": "white", "edgecolors": "black", "zorder": 3}
    axes.scatter(*zip(*points, strict=True), label="its model, untrained", **style)


def _draw_baselines(comparison: "Comparison", axes: "Axes", i: int) -> None:
  """Draws lines: guesses dotted, those at one height once, and models of all raw features."""
  guesses: dict[float, list[str]] = {}
  models = []
  for line in comparison.lines:
    if line.values[i] and line.kind == "guess":
      guesses.setdefault(round(comparison.value(line, i).mean, 9), []).append(line.label)
    elif line.values[i] and line.kind == "raw" and not line.modalities:
      models.append((comparison.value(line, i).mean, line.label))
  digits = comparison.columns[i].digits
  for k, (level, names) in enumerate(guesses.items()):
    label = _wrap(f"{', '.join(names)} {level:.{digits}f}")
    axes.axhline(level, color="gray", linestyle=(0, (1, 1 + 3 * k)), linewidth=1, label=label)
  for k, (level, name) in enumerate(models):
    style = {"color": LINE_COLORS[1 + k % 5], "linestyle": LINE_STYLES[k % 3]}
    axes.axhline(level, linewidth=1.2, label=_wrap(f"{name} {level:.{digits}f}"), **style)


def _wrap(label: str) -> str:
  return "\n".join(textwrap.wrap(label, 34))
