"""Plots of the scores that `launch.evaluate` makes on request."""

import pathlib
from collections.abc import Mapping

import numpy as np

from synjax.report.plots import canvas
from synjax.report.plots.subsets import plot_subsets
from synjax.workdir.scores import split_of

PLOTS = {"subset": ("subsets.png", plot_subsets)}  # split of the scores -> (file, figure)


def write_score_plots(
  folder: pathlib.Path,
  scores: Mapping[str, np.ndarray],
  *,
  chance: Mapping[str, float],
  title: str,
  num_examples: int,
) -> list[pathlib.Path]:
  """Writes the plots of what was scored.

  Args:
    folder: where to.
    scores: names as of `workdir.scores` -> [trials].
    chance: task -> chance level of its macro accuracy.
    title: of the figures.
    num_examples: of the test split.

  Returns:
    The files; none where nothing has a plot.
  """
  found = set(map(split_of, scores))
  written = []
  for split, (file, draw) in PLOTS.items():
    if split in found:
      canvas.save(
        draw(scores, chance=chance, title=title, num_examples=num_examples), folder / file
      )
      written.append(folder / file)
  return written
