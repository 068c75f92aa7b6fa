"""The plot of an ablation: accuracy of every task against one field, and what a step costs."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from synjax.report.plots import LINE_COLORS, LINE_STYLES
from synjax.report.sweep_runs import Score, Sweep
from synjax.workdir.scores import parse

MARKERS = "os^vDP"


def seeds_text(scores: Iterable[Score], mark: str) -> str:
  """Says of how many seeds means and standard errors are, for a legend."""
  counts = sorted({found.n for found in scores})
  if counts[-1] == 1:
    return "one seed"
  seeds = f"{counts[0]}" if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
  return f"mean of {seeds} seeds,\n{mark}: standard error"


def whisker_text(scores: Iterable[Score], drawn: Iterable[bool]) -> str:
  """Says what points and whiskers of `Sweep.intervals` are; `drawn`: which whiskers have a length."""
  scores = list(scores)
  text = seeds_text(scores, "whisker")
  if min(found.n for found in scores) > 1 or not any(drawn):
    return text
  single = "95 % interval\nover test examples"
  whole = max(found.n for found in scores) == 1
  return f"{text},\nwhisker: {single}" if whole else f"{text};\nof one seed: {single}"


def draw_chance(sweep: Sweep, axes, metrics) -> None:
  """Draws a dotted line at every chance level, named by level and tasks."""
  tasks: dict[float, list[str]] = {}
  for metric in metrics:
    level = sweep.chance(metric)
    if level is not None:
      tasks.setdefault(level, []).append(parse(metric).task)
  for i, (level, names) in enumerate(sorted(tasks.items())):
    alone = len(tasks) == 1
    label = f"chance {sweep.text(level, metrics[0])}" + ("" if alone else f": {', '.join(names)}")
    gap = 1 + 3 * i
    axes.axhline(level, color="gray", linestyle=(0, (1, gap)), linewidth=1, label=label)


def plot_ablation(sweep: Sweep, plot: Mapping[str, Any], title: str) -> Figure | None:
  """Plots metrics over a numeric field, a line each, and beside them costs over the same field.

  Args:
    sweep: what is there.
    plot: "x", "metrics", and maybe "costs" (of `sweep_runs.COSTS`; left out where not measured),
      "log2" (x on a logarithmic axis, and so the costs: one that is proportional to x is a straight
      line of slope 1), "chance", "xlabel", "which", "where".
    title: of the figure.

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
  figure = Figure(layout="constrained", dpi=150, figsize=(7.5 + 3.2 * len(measured), 4.2))
  FigureCanvasAgg(figure)
  figure.suptitle(title, fontsize=10)
  ratios = [1.4] + [1] * len(measured)
  accuracy, *others = figure.subplots(1, len(ratios), squeeze=False, width_ratios=ratios)[0]
  drawn: list[bool] = []
  for i, (metric, own) in enumerate(found.items()):
    x = sorted(key[0] for key in own)
    mean = np.array([own[v,].mean for v in x])
    ends = sweep.intervals([field], metric, which, where=where)
    low, high = np.array([ends[v,] for v in x]).T
    drawn += list(low < high)
    accuracy.errorbar(
      x, mean, yerr=np.maximum([mean - low, high - mean], 0), label=sweep.label(metric), capsize=2,
      color=LINE_COLORS[i % 6], linestyle=LINE_STYLES[i % 4], marker=MARKERS[i % 6], markersize=4,
    )  # fmt: skip
  if plot.get("chance") == "measured":
    draw_chance(sweep, accuracy, plot["metrics"])
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
  figure.legend(
    title=whisker_text(cells.values(), drawn), loc="outside center right", fontsize=8,
    title_fontsize=8, frameon=False,
  )  # fmt: skip
  return figure


def _use_powers_of_2(accuracy, costs, values) -> None:
  """Puts logarithmic axes of base 2 under all panels, with ticks at `values`, and beside the costs."""
  plain = FuncFormatter(lambda value, _: f"{value:g}")
  for axes in (accuracy, *costs):
    axes.set_xscale("log", base=2)
    axes.xaxis.set_ticks(values)
    axes.xaxis.set_major_formatter(plain)
    axes.tick_params(axis="x", labelsize=8)
  for axes in costs:
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter(plain)
