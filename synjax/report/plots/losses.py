"""The loss and its terms over training."""

from typing import TYPE_CHECKING

from synjax.report.plots.base import Plot
from synjax.report.plots.canvas import draw_curves, group_figure, legend, logged
from synjax.report.runs import Group

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_PREFIXES = ("train/term/", "train/loss/")  # the first where a method logs them, unweighted


def draw(group: Group) -> "Figure | None":
  """Plots the loss (black) and its terms over steps, in nats; None without losses."""
  names: dict[str, str] = {}
  for prefix in _PREFIXES:
    found = sorted(logged(group, lambda name, p=prefix: name.startswith(p)))
    names = names or {name: name.removeprefix(prefix) for name in found}
  names |= dict.fromkeys(logged(group, lambda name: name == "train/loss"), "loss")
  if not names:
    return None
  figure = group_figure(group, "Loss and its terms", figsize=(8, 4.5))
  axes = figure.add_subplot(xlabel="step", ylabel="mean over the logging interval (nats)")
  draw_curves(axes, group, names, per_unit=1, scale=1)
  legend(figure, group)
  return figure


PLOT = Plot("losses", "Loss and its terms over steps", lambda group: True, draw)
