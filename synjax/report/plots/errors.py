"""Validation error of every regression over training."""

from typing import TYPE_CHECKING

import numpy as np

from synjax.report.plots.base import Plot
from synjax.report.plots.canvas import (
  curve,
  draw_curves,
  draw_selected,
  group_figure,
  legend,
  logged_tasks,
  measured_once,
)
from synjax.report.runs import Group
from synjax.report.units import error_scale
from synjax.workdir.scores import Score, parse_rule

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def when(group: Group) -> bool:
  """Says whether regressions were scored."""
  return bool(logged_tasks(group, "mse"))


def draw(group: Group) -> "Figure | None":
  """Plots validation mean squared errors over epochs; None without regressions.

  A panel for each regression, whose units differ; the scale is `units.error_scale`. While the epochs
  have no known length, the axis counts steps. A star on the mean's curve is what was selected, one a
  seed; the dotted line is the error of predicting the mean label.
  """
  found = logged_tasks(group, "mse")
  if not found:
    return None
  scale = error_scale(group.dataset)
  unit = "" if scale == 1 else f" ({1 / scale:.0e})".replace("e-0", "e-")
  per_epoch = group.runs[0].steps_per_epoch
  what = "Mean squared error on the validation split"
  figure = group_figure(group, what, figsize=(4.5 * len(found) + 3.5, 4.5))
  panels = np.atleast_1d(figure.subplots(1, len(found)))
  for axes, (name, task) in zip(panels, found.items(), strict=True):
    axes.set(xlabel="epoch" if per_epoch else "step", ylabel=f"mean squared error{unit}")
    axes.set_title(task, fontsize=9)
    draw_curves(axes, group, {name: "ridge probe"}, per_unit=per_epoch or 1, scale=scale)
    if group.rows and parse_rule(group.select_metric)[0] == name:
      draw_selected(axes, group, scale=scale)
    trivial = curve(group, str(Score("val", task, "mean_mse")))[1]
    if len(trivial):
      axes.axhline(
        scale * trivial[-1], color="gray", linestyle=":", label="mean label", linewidth=1
      )
  handles = [axes.get_legend_handles_labels() for axes in figure.axes]
  unique = {label: handle for pair in handles for handle, label in zip(*pair, strict=True)}
  legend(figure, group, handles=unique.values(), labels=unique)
  return figure


def words(group: Group) -> str:
  """Says the errors of a single evaluation."""
  what, scale = "Mean squared error on the validation split", error_scale(group.dataset)
  return measured_once(group, what, logged_tasks(group, "mse"), scale=scale, digits=4)


PLOT = Plot(
  "errors", "Mean squared error on the validation split over epochs", when, draw, words=words
)
