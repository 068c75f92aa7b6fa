"""The learning signal of each source of the label, see `evaluators.ntk`."""

from typing import TYPE_CHECKING

import numpy as np

from synjax.report.plots.base import Plot
from synjax.report.plots.canvas import (
  LINE_COLORS,
  curve,
  group_figure,
  legend,
  logged,
  tell_apart,
)
from synjax.report.runs import Group
from synjax.workdir.scores import kind_of

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_STRENGTH, _ALIGNMENT = "train/ntk/strength/", "train/ntk/alignment/"


def _strengths(group: Group) -> list[str]:
  return logged(group, lambda name: name.startswith(_STRENGTH))


def _dot(steps: np.ndarray) -> str | None:
  """Returns the marker of a curve: one of a single point has no line."""
  return "o" if len(steps) == 1 else None


def draw(group: Group) -> "Figure | None":
  """Plots the kernel's strength along, and alignment between, sources over steps; None without.

  A point is the mean over a logging interval (the paper shows a rolling median of 101 steps).
  """
  strengths = _strengths(group)
  if not strengths:
    return None
  figure = group_figure(group, "Learning signal of each source", figsize=(9, 4.5))
  left, right = figure.subplots(1, 2)
  for i, name in enumerate(strengths):
    steps, mean, _ = curve(group, name)
    positive = np.where(mean > 0, mean, np.nan)  # the axis is logarithmic
    left.plot(steps, positive, marker=_dot(steps), color=LINE_COLORS[i % 6], label=kind_of(name))
  left.set(xlabel="step", ylabel="strength  |J'r|² / |r|²", yscale="log")
  for i, name in enumerate(logged(group, lambda name: name.startswith(_ALIGNMENT))):
    steps, mean, _ = curve(group, name)
    label = " · ".join(name.removeprefix(_ALIGNMENT).split("/"))
    right.plot(steps, mean, "--", marker=_dot(steps), color=LINE_COLORS[i % 6], label=label)
  for axes in (left, right):
    tell_apart(axes.lines)
  right.axhline(0, color="gray", linewidth=0.8)
  right.set(xlabel="step", ylabel="alignment (cosine)", ylim=(-1, 1))
  for axes in (left, right):
    axes.grid(alpha=0.3)
  legend(figure, group)
  return figure


PLOT = Plot(
  "ntk",
  "Strength of the learning signal of each source, and alignment between them, over training",
  lambda group: bool(_strengths(group)),
  draw,
)
