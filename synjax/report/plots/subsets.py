"""Bar chart of what a representation knows from every subset of the modalities; of launch.evaluate."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from synjax.report.plots.canvas import LINE_COLORS, new_figure
from synjax.workdir.scores import Score, parse

if TYPE_CHECKING:
  from matplotlib.figure import Figure

MAX_COLUMNS = 4


def plot_subsets(
  scores: Mapping[str, np.ndarray], *, chance: Mapping[str, float], title: str, num_examples: int
) -> "Figure":
  """Plots the test score of every subset, one panel a task, one bar a subset.

  A bar is the mean over seeds of the macro accuracy in %, or of the mean squared error of a regression
  in squared units of its label; its colour tells the number of modalities. Whiskers are the 95 %
  interval over test examples (mean over seeds of its ends), small circles the seeds where there are
  several. The dashed line is chance, or the error of predicting the mean training label.

  Args:
    scores: "subset/<modality>+<modality>/<task>/<metric>" -> [trials], as from
      `evaluators.subsets`; other names are left out.
    chance: task -> chance level of its macro accuracy.
    title: of the figure.
    num_examples: of the test split; below a subset stands how many have any of it ("label/left_out").

  Returns:
    The figure.

  Raises:
    ValueError: `scores` has no subset.
  """
  rows = [score for score in map(parse, scores) if score and score.split == "subset"]
  subsets = list(dict.fromkeys(row.modalities for row in rows))
  measured = ("macro_accuracy", "mse")  # "mean" has no interval and is left out
  tasks = {row.task: m for row in rows for m in measured if row.metric == f"{m}_low"}
  if not tasks:
    raise ValueError(f"plot_subsets: expected scores subset/..., found {sorted(scores)}")
  columns = min(len(tasks), MAX_COLUMNS)
  lines = -(-len(tasks) // columns)
  size = (2.2 + 2.4 * columns, lines * (1.3 + 0.3 * len(subsets)))
  figure = new_figure(title, figsize=size)
  panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
  names = [f"{subset}\nn = {num_examples - _left_out(scores, subset)}" for subset in subsets]
  for axes, (task, metric) in zip(panels, tasks.items(), strict=False):
    _draw_task(axes, scores, subsets, task, metric)
    axes.set_yticks(range(len(names)), names, fontsize=8)
    if metric == "mse":
      trivial = scores[str(Score("subset", task, "mean_mse", subsets[0]))]
      level, name = float(np.mean(trivial)), "mean label"
    else:
      level, name = 100 * chance.get(task, np.nan), "chance"
    if np.isfinite(level):
      axes.axvline(level, color="gray", linestyle="--", linewidth=1)
      axes.set_xlabel(f"{axes.get_xlabel()}\ndashed: {name}, {level:.3g}", fontsize=8)
    axes.set_xlim(0, 1.05 * max(axes.dataLim.x1, np.nan_to_num(level)) if metric == "mse" else 102)
  for axes in panels[len(tasks) :]:
    axes.set_axis_off()
  return figure


def _left_out(scores: Mapping[str, np.ndarray], subset: str) -> int:
  """Returns how many test examples have none of a subset's modalities."""
  found = [s for s in map(parse, scores) if s and (s.split, s.modalities) == ("subset", subset)]
  return max((int(np.max(scores[str(s)])) for s in found if s.metric == "left_out"), default=0)


def _draw_task(axes, scores, subsets, task: str, metric: str) -> None:
  """Draws the bars of one task, the first subset on top."""
  scale = 1 if metric == "mse" else 100
  ends = [metric, f"{metric}_low", f"{metric}_high"]
  values = [
    [scale * np.asarray(scores[str(Score("subset", task, end, subset))]) for end in ends]
    for subset in subsets
  ]
  mean, low, high = np.mean(values, axis=-1).T
  y = np.arange(len(subsets))
  colors = [LINE_COLORS[subset.count("+") % len(LINE_COLORS)] for subset in subsets]
  axes.barh(
    y, mean, xerr=[mean - low, high - mean], color=colors, alpha=0.75, ecolor="black", capsize=2
  )
  if np.shape(values)[-1] > 1:
    for row, (seeds, _, _) in zip(y, values, strict=True):
      circle = {"facecolors": "white", "edgecolors": "black", "linewidth": 0.7, "zorder": 3}
      axes.scatter(seeds, np.full(len(seeds), row), s=9, **circle)
  axes.set_title(task, fontsize=9)
  axes.set_xlabel("mean squared error" if metric == "mse" else "macro accuracy (%)", fontsize=8)
  axes.grid(alpha=0.3, axis="x")
  if not axes.yaxis_inverted():  # shared by all panels
    axes.invert_yaxis()
