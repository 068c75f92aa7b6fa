"""Validation accuracy of every task over training."""

from typing import TYPE_CHECKING

import numpy as np

from synjax.report.plots.base import Plot
from synjax.report.plots.canvas import (
  LINE_STYLES,
  draw_curves,
  draw_selected,
  group_figure,
  legend,
  logged_tasks,
  measured_once,
)
from synjax.report.runs import Group

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def when(group: Group) -> bool:
  """Says whether there are tasks with classes: a run may have regressions only, or nothing to score."""
  unlabelled = group.rows and not group.chance
  return bool(
    logged_tasks(group, "macro_accuracy") or not (unlabelled or logged_tasks(group, "mse"))
  )


def draw(group: Group) -> "Figure | None":
  """Plots validation macro accuracies over epochs, in %; None before the first evaluation.

  While the epochs have no known length, the axis counts steps. A star on the mean's curve is what was
  selected, one a seed; chance levels are dotted lines, one for each level.
  """
  found = logged_tasks(group, "macro_accuracy")
  if not found:
    return None
  names = dict(sorted(found.items(), key=lambda item: item[1] == "mean"))
  per_epoch = group.runs[0].steps_per_epoch
  figure = group_figure(group, "Accuracy on the validation split", figsize=(8, 4.5))
  axes = figure.add_subplot(xlabel="epoch" if per_epoch else "step", ylabel="macro accuracy (%)")
  draw_curves(axes, group, names, per_unit=per_epoch or 1, scale=100)
  if group.rows and group.select_metric in names:
    draw_selected(axes, group, scale=100)
  known = {task: group.chance[task] for task in names.values() if task in group.chance}
  if known and "mean" in names.values():
    known["mean"] = np.mean(list(known.values()))
  for i, level in enumerate(sorted(set(known.values()))):
    tasks = ", ".join(task for task, value in known.items() if value == level)
    label = f"chance {100 * level:.1f} %: {tasks}"
    style = LINE_STYLES[::-1][i % 3]
    axes.axhline(100 * level, color="gray", linestyle=style, label=label, linewidth=1)
  axes.set_ylim(0, 102)
  legend(figure, group)
  return figure


def words(group: Group) -> str:
  """Says the accuracies of a single evaluation."""
  tasks = logged_tasks(group, "macro_accuracy")
  return measured_once(group, "Macro accuracy on the validation split in %", tasks, scale=100)


PLOT = Plot("accuracy", "Accuracy on the validation split over epochs", when, draw, words=words)
