"""What the plots share: figures, colours, legends and curves. matplotlib is loaded when one is drawn."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synjax.report.runs import Group
from synjax.workdir.files import replacing
from synjax.workdir.scores import Score, parse

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure
  from matplotlib.lines import Line2D

# Okabe and Ito's palette, which is colour-blind safe.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_EDGE = 2.2  # points, both sides together, of a curve beneath another
_EXPLAINS = "explains"  # the group of legends that say what bands are
LINE_STYLES = ("-", "--", "-.", (0, (1, 1)))


def new_figure(title: str, **size: Any) -> "Figure":
  """Makes a figure that draws into memory, whatever backend the caller's process uses."""
  from matplotlib.backends.backend_agg import FigureCanvasAgg  # takes a second, and few need it
  from matplotlib.figure import Figure

  figure = Figure(layout="constrained", dpi=150, **size)
  FigureCanvasAgg(figure)
  figure.suptitle(title, fontsize=10)
  return figure


def group_figure(group: Group, what: str, **size: Any) -> "Figure":
  """Makes a figure of what a group's runs measured."""
  return new_figure(f"{what}: {group.title}", **size)


def save(figure: "Figure", path: pathlib.Path) -> None:
  """Writes a figure as PNG so that a reader finds the old or the new one, never a part."""
  with replacing(path) as temporary:
    figure.savefig(temporary, format="png")


def legend(figure: "Figure", group: Group, **entries: Any) -> None:
  """Puts one legend beside the axes, with what the bands mean; `entries` as of `Figure.legend`."""
  # Of the seeds that have values: some runs of a group may not have begun.
  seeds = {row["seed"] for run in group.runs for row in run.metrics} or set(group.seeds)
  band = f"band: mean ± std of {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
  explained_legend(figure, band, **entries)


def explained_legend(
  figure: "Figure", words: str, loc: str = "outside center right", **entries: Any
) -> None:
  """Puts a legend beside the axes that says what bands, bars and whiskers are, for `bands` too."""
  style = {"fontsize": 8, "title_fontsize": 8, "frameon": False}
  made = figure.legend(title=words, loc=loc, **style, **entries)
  made.set_gid(_EXPLAINS)


def bands(figure: "Figure") -> str:
  """Returns the words of `explained_legend` on one line; "": there is none."""
  titles = [x.get_title().get_text() for x in figure.legends if x.get_gid() == _EXPLAINS]
  return " ".join(" ".join(titles).split())


def curve(group: Group, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns steps, mean over seeds and std over seeds (NaN with one seed) of a logged metric."""
  values: dict[int, list[float]] = {}
  for run in group.runs:
    for row in run.metrics:
      if name in row:
        values.setdefault(row["step"], []).append(row[name])
  steps = sorted(values)
  mean = [np.mean(values[step]) for step in steps]
  std = [np.std(values[step], ddof=1) if len(values[step]) > 1 else np.nan for step in steps]
  return np.array(steps), np.array(mean), np.array(std)


def logged(group: Group, wanted: Callable[[str], bool] = lambda name: True) -> list[str]:
  """Returns the names of logged metrics that are wanted, in the order in which they appeared."""
  return list(
    dict.fromkeys(n for run in group.runs for row in run.metrics for n in row if wanted(n))
  )


def logged_tasks(group: Group, metric: str) -> dict[str, str]:
  """Returns the logged names of a score on all of the validation split -> its task."""
  found = {name: parse(name) for name in logged(group)}
  return {n: s.task for n, s in found.items() if s and s == Score("val", s.task, metric)}


def measured_once(
  group: Group, what: str, names: Mapping[str, str], *, scale: float, digits: int = 1
) -> str:
  """Says values of curves that have one point each, which are no figure; "": there are more points.

  Args:
    group: whose metrics.
    what: the values are.
    names: metric -> label.
    scale: what values are multiplied with.
    digits: behind the point.
  """
  found = {label: curve(group, name) for name, label in names.items()}
  steps = sorted({step for own, _, _ in found.values() for step in own})
  if len(steps) != 1:
    return ""
  parts = []
  for label, (_, (mean,), (std,)) in found.items():
    spread = "" if np.isnan(std) else f" ± {scale * std:.{digits}f}"
    parts.append(f"{label} {scale * mean:.{digits}f}{spread}")
  return f"{what}, measured once, at step {steps[0]}: {', '.join(parts)}."


def tell_apart(lines: "Sequence[Line2D]") -> None:
  """Widens curves that lie under others, so that their edges show on both sides.

  Args:
    lines: of one panel, in the order in which they are drawn. Two coincide where three quarters of the
      points at equal x are closer than a hundredth of the range of all.
  """
  curves = [dict(zip(*np.asarray(line.get_data(), float), strict=True)) for line in lines]
  values = np.array([y for own in curves for y in own.values()], float)
  span = np.ptp(values[np.isfinite(values)]) if np.isfinite(values).any() else 0.0
  for i, line in enumerate(lines):
    above = min(sum(_coincide(curves[i], other, span) for other in curves[i + 1 :]), 3)
    line.set_linewidth(line.get_linewidth() + _EDGE * above)


def _coincide(a: Mapping[float, float], b: Mapping[float, float], span: float) -> bool:
  apart = [abs(a[x] - b[x]) for x in a.keys() & b.keys() if np.isfinite([a[x], b[x]]).all()]
  return bool(apart) and np.quantile(apart, 0.75) <= 0.01 * span


def draw_curves(
  axes: "Axes", group: Group, names: Mapping[str, str], *, per_unit: float, scale: float
) -> None:
  """Draws mean curves, the last in black, with a band of one std where there are several seeds.

  Args:
    axes: to draw into.
    group: whose metrics.
    names: metric -> label.
    per_unit: steps of a unit of the horizontal axis.
    scale: what values are multiplied with.
  """
  for i, (name, label) in enumerate(names.items()):
    steps, mean, std = curve(group, name)
    style = {"color": LINE_COLORS[i % 6], "linestyle": LINE_STYLES[i % 4], "linewidth": 1.5}
    if i == len(names) - 1:
      style = {"color": "black", "linestyle": "-", "linewidth": 2}
    marker = "o" if len(steps) < 30 else None
    axes.plot(steps / per_unit, scale * mean, label=label, marker=marker, markersize=3, **style)
    low, high = scale * (mean - std), scale * (mean + std)
    axes.fill_between(steps / per_unit, low, high, color=style["color"], alpha=0.15, linewidth=0)
  tell_apart(axes.lines[-len(names) :])
  axes.grid(alpha=0.3)


def draw_selected(axes: "Axes", group: Group, *, scale: float) -> None:
  """Draws a star where each seed's parameters were selected."""
  per_epoch = group.runs[0].steps_per_epoch or 1
  x = [row["best_step"] / per_epoch for row in group.rows]
  y = [scale * row["best_value"] for row in group.rows]
  axes.plot(x, y, "*", color="black", markerfacecolor="white", markersize=11, label="selected")
