"""What a plot of a report is."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

from synjax.report.runs import Group

if TYPE_CHECKING:
  from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Plot:
  """A plot of the runs of a group.

  Attributes:
    name: ends the names of its files.
    caption: what it shows, without a full stop.
    when: group -> whether its report has the plot, or says that there are no values for it yet.
    draw: group -> figure; None while there are no values.
    each_run: True draws every run by itself: `when`, `words` and `draw` are given groups of one run.
    words: group -> a sentence in place of a figure that would have one point a curve; "": it is drawn.
  """

  name: str
  caption: str
  when: Callable[[Group], bool]
  draw: "Callable[[Group], Figure | None]"
  each_run: bool = False
  words: Callable[[Group], str] = lambda group: ""


def is_probed(group: Group) -> bool:
  """Says whether runs are scored by probes of their representation; if not, by their own classes."""
  return "representation" in group.config.get("evaluators", ("representation",))
