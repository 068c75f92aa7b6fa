"""Accuracy of each source of the label, of runs whose data know what carries it."""

from typing import TYPE_CHECKING

from synjax.report.plots.base import Plot, is_probed
from synjax.report.plots.canvas import (
  LINE_COLORS,
  curve,
  group_figure,
  legend,
  logged,
  measured_once,
  tell_apart,
)
from synjax.report.runs import Group
from synjax.workdir.scores import Score, parse

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def _found(group: Group) -> list[Score]:
  found = [score for score in map(parse, logged(group)) if score]
  return [s for s in found if (s.split, s.task) == ("val", "label") and s.part]


def when(group: Group) -> bool:
  """Says whether there are sources; of a classifier that was not evaluated yet there may be some."""
  evaluated = any(score and score.split == "val" for score in map(parse, logged(group)))
  return bool(_found(group)) or not (is_probed(group) or evaluated)


def draw(group: Group) -> "Figure | None":
  """Plots validation (and logged training) accuracy of every source over epochs; None without."""
  found = _found(group)
  if not found:
    return None
  figure = group_figure(group, "Accuracy of each source of the label", figsize=(8, 4.5))
  per_epoch = group.runs[0].steps_per_epoch or 1
  axes = figure.add_subplot(xlabel="epoch" if per_epoch > 1 else "step", ylabel="accuracy (%)")
  for i, score in enumerate(found):
    for split, style in (("val", "-"), ("train_split", ":")):
      steps, mean, std = curve(group, str(score._replace(split=split)))
      if len(steps):
        label = f"{score.part}, {'validation' if split == 'val' else 'training'}"
        axes.plot(steps / per_epoch, 100 * mean, style, color=LINE_COLORS[i % 6], label=label)
        low, high = 100 * (mean - std), 100 * (mean + std)
        axes.fill_between(
          steps / per_epoch, low, high, color=LINE_COLORS[i % 6], alpha=0.12, linewidth=0
        )
  tell_apart(axes.lines)
  axes.set_ylim(0, 102)
  axes.grid(alpha=0.3)
  legend(figure, group)
  return figure


def words(group: Group) -> str:
  """Says the accuracies of a single evaluation."""
  names = {str(score): score.part for score in _found(group)}
  what = "Accuracy of each source of the label on the validation split in %"
  return measured_once(group, what, names, scale=100)


PLOT = Plot(
  "sources",
  "Accuracy of each source of the label over epochs, validation and, where scored, training",
  when,
  draw,
  words=words,
)
