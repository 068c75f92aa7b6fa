"""The loss and its terms over training."""

import re
from typing import TYPE_CHECKING

from synjax.report.names import loss_term
from synjax.report.plots.base import Plot
from synjax.report.plots.canvas import draw_curves, group_figure, legend, logged
from synjax.report.runs import Group

if TYPE_CHECKING:
  from matplotlib.figure import Figure

# Of a method with phases after the phase's name. Terms where a method logs them, unweighted.
_KINDS = ("term", "loss")


def draw(group: Group) -> "Figure | None":
  """Plots the loss (black) and its terms over steps, in nats; None without losses."""
  names: dict[str, str] = {}
  for kind in _KINDS:
    pattern = re.compile(rf"train/((?:\w+/)?){kind}/(.*)")
    found = sorted(logged(group, pattern.fullmatch))
    modalities = (group.runs[0].results or {}).get("modalities", ())
    names = names or {name: loss_term(pattern.sub(r"\1\2", name), modalities) for name in found}
  totals = logged(group, re.compile(r"train/(\w+/)?loss").fullmatch)
  names |= {name: loss_term(name.removeprefix("train/")) for name in totals}
  if not names:
    return None
  figure = group_figure(group, "Loss and its terms", figsize=(8, 4.5))
  axes = figure.add_subplot(xlabel="step", ylabel="loss (nats)")
  draw_curves(axes, group, names, per_unit=1, scale=1)
  legend(figure, group)
  return figure


PLOT = Plot(
  "losses",
  "Loss and its terms over steps, mean over each logging interval",
  lambda group: True,
  draw,
)
