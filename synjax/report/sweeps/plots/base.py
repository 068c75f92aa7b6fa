"""What a kind of plot of a sweep is, and what the kinds share."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synjax.report.plots.canvas import new_figure
from synjax.report.sweeps.averages import Score
from synjax.workdir.scores import parse

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

  from synjax.report.sweeps.sweep import Sweep

MARKERS = "os^vDP"


@dataclasses.dataclass(frozen=True)
class Kind:
  """A kind of plot.

  Attributes:
    keys: of its description, beside "name", "kind" and those that every plot may have.
    draw: sweep, description -> figure; None while there are no values.
  """

  keys: Sequence[str]
  draw: "Callable[[Sweep, Mapping[str, Any]], Figure | None]"


def title_of(sweep: "Sweep", plot: Mapping[str, Any]) -> str:
  """Returns the title of a plot: what, which step and, while it runs, how much is there."""
  title = plot.get("title", sweep.description.get("title", "Sweep"))
  which = {"best": "selected step", "last": "last step"}[plot.get("which", "best")]
  partial = len(sweep.done) < len(sweep.declared)
  return f"{title} ({which}{'; ' + sweep.state if partial else ''})"


def sweep_figure(sweep: "Sweep", plot: Mapping[str, Any], **size: Any) -> "Figure":
  """Makes a figure with the plot's title."""
  return new_figure(title_of(sweep, plot), **size)


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


def draw_chance(sweep: "Sweep", axes: "Axes", plot: Mapping[str, Any]) -> None:
  """Draws the chance level that a plot names; "measured": those of its metrics' tasks."""
  metrics = plot.get("metrics") or [plot["metric"]]
  if plot.get("chance") == "measured":
    _draw_measured_chance(sweep, axes, metrics)
  elif "chance" in plot:
    level = sweep.factor(metrics[0]) * plot["chance"]
    label = f"chance {sweep.text(level, metrics[0])}"
    axes.axhline(level, color="gray", linestyle=(0, (1, 1)), linewidth=1, label=label)


def _draw_measured_chance(sweep: "Sweep", axes: "Axes", metrics: Sequence[str]) -> None:
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
