"""Plots of the scores that `launch.evaluate` makes on request."""

import pathlib
from collections.abc import Mapping

import numpy as np

from synjax.report.subset_plots import plot_subsets

PLOTS = {"subset": ("subsets.png", plot_subsets)}  # first word of the scores -> (file, figure)


def write_score_plots(
  folder: pathlib.Path,
  scores: Mapping[str, np.ndarray],
  *,
  chance: Mapping[str, float],
  title: str,
) -> list[pathlib.Path]:
  """Writes the plots of what was scored.

  Args:
    folder: where to.
    scores: "<first word>/..." -> [trials].
    chance: task -> chance level of its macro accuracy.
    title: of the figures.

  Returns:
    The files; none where nothing has a plot.
  """
  found = {name.split("/")[0] for name in scores}
  written = []
  for word, (file, draw) in PLOTS.items():
    if word in found:
      draw(scores, chance=chance, title=title).savefig(folder / file)
      written.append(folder / file)
  return written
