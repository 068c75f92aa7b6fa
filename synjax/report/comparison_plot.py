"""A bar for each method of a comparison, a panel a score, and lines of what must be beaten."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from synjax.report.names import shown_labels
from synjax.report.plots.canvas import LINE_COLORS, LINE_STYLES, explained_legend, new_figure

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

  from synjax.report.comparison import Comparison

_MOST_IN_HALF = 6  # bars for which half the width is enough
_WORDS = "bars: mean over seeds, whisker: 95 % interval"


def draw_comparison(comparison: "Comparison", title: str) -> "Figure":
  """Plots a comparison: bars with 95 % intervals, baselines of all modalities as lines."""
  count, bars = len(comparison.columns), len(comparison.entrants)
  across = 2 if count > 1 and bars <= _MOST_IN_HALF else 1
  down = -(-count // across)
  figure = new_figure(title, figsize=(max(7.5, 3.5 + 0.9 * bars), 1.2 + 2.6 * down))
  panels = figure.subplots(down, across, squeeze=False).ravel()
  styles: dict[str, tuple[str, dict]] = {}
  for i, axes in enumerate(panels[:count]):
    _draw_bars(comparison, axes, i)
    _draw_baselines(comparison, axes, i, styles)
    axes.set_ylabel(comparison.columns[i].title, fontsize=8)
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3, axis="y")
    axes.set_axisbelow(True)
  for axes in panels[count:]:
    axes.remove()
  entries: dict = {}
  for axes in panels[:count]:
    entries |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
  explained_legend(
    figure, _WORDS, "outside lower center", handles=entries.values(), labels=entries, ncols=3
  )
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
  shown = shown_labels(names)
  axes.set_xticks(range(len(names)), shown, fontsize=8, rotation=20 if len(names) > 6 else 0)
  axes.set_xlim(-0.6, len(names) - 0.4)  # where the first has no score too
  points = [
    (names.index(name), comparison.value(line, i).mean)
    for line in comparison.lines
    for name in (line.of if line.values[i] else ())
  ]
  if points:
    style = {"marker": "D", "s": 24, "facecolors": "white", "edgecolors": "black", "zorder": 3}
    axes.scatter(*zip(*points, strict=True), label="its model, untrained", **style)


def _draw_baselines(
  comparison: "Comparison", axes: "Axes", i: int, styles: dict[str, tuple[str, dict]]
) -> None:
  """Draws lines: guesses dotted, those at one height once, and models of all raw features.

  Args:
    comparison: of methods.
    axes: of the panel.
    i: of the column.
    styles: label -> kind and how its line looks, the same in all panels; new ones are added.
  """
  guesses: dict[float, list[str]] = {}
  models = []
  for line in comparison.lines:
    if line.values[i] and line.kind == "guess":
      guesses.setdefault(round(comparison.value(line, i).mean, 9), []).append(line.label)
    elif line.values[i] and line.kind == "raw" and not line.modalities:
      models.append((comparison.value(line, i).mean, line.label))
  levels = [("guess", level, ", ".join(names)) for level, names in guesses.items()]
  for kind, level, name in [*levels, *(("model", *model) for model in models)]:
    label = "\n".join(textwrap.wrap(name, 34))
    if label not in styles:  # one that no other line has, whatever panel that is in
      styles[label] = (kind, _style(kind, sum(kind == other for other, _ in styles.values())))
    axes.axhline(level, linewidth=1.2, label=label, **styles[label][1])


def _style(kind: str, k: int) -> dict:
  """Returns how the k-th line of a kind looks: guesses dotted, models coloured."""
  if kind == "guess":
    return {"color": "gray", "linestyle": (0, (1, 1 + 3 * k))}
  return {"color": LINE_COLORS[1 + k % 5], "linestyle": LINE_STYLES[k % 3]}
