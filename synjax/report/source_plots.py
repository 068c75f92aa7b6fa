"""Plots of runs whose data know what carries each label: accuracy and learning signal of each source."""

import numpy as np
from matplotlib.figure import Figure

from synjax.report.plots import LINE_COLORS, curve, legend, logged, new_figure
from synjax.report.runs import Group
from synjax.workdir.scores import kind_of, parse


def plot_sources(group: Group) -> Figure | None:
  """Plots validation (and logged training) accuracy of every source over epochs; None without."""
  found = {name: parse(name) for name in logged(group, lambda name: True)}
  names = [s for s in found.values() if s and (s.split, s.task) == ("val", "label") and s.part]
  if not names:
    return None
  figure = new_figure(group, "Accuracy of each source of the label", figsize=(8, 4.5))
  per_epoch = group.runs[0].steps_per_epoch or 1
  axes = figure.add_subplot(xlabel="epoch" if per_epoch > 1 else "step", ylabel="accuracy (%)")
  for i, score in enumerate(names):
    for split, style in (("val", "-"), ("train_split", ":")):
      steps, mean, std = curve(group, str(score._replace(split=split)))
      if len(steps):
        label = f"{score.part}, {'validation' if split == 'val' else 'training'}"
        axes.plot(steps / per_epoch, 100 * mean, style, color=LINE_COLORS[i % 6], label=label)
        low, high = 100 * (mean - std), 100 * (mean + std)
        axes.fill_between(
          steps / per_epoch, low, high, color=LINE_COLORS[i % 6], alpha=0.12, linewidth=0
        )
  axes.set_ylim(0, 102)
  axes.grid(alpha=0.3)
  legend(figure, group)
  return figure


def plot_ntk(group: Group) -> Figure | None:
  """Plots the kernel's strength along, and alignment between, sources over steps; None without.

  A point is the mean over a logging interval (the paper shows a rolling median of 101 steps).
  """
  strengths = logged(group, lambda n: n.startswith("train/ntk/strength/"))
  if not strengths:
    return None
  figure = new_figure(group, "Learning signal of each source", figsize=(9, 4.5))
  left, right = figure.subplots(1, 2)
  for i, name in enumerate(strengths):
    steps, mean, _ = curve(group, name)
    left.plot(
      steps, np.where(mean > 0, mean, np.nan), color=LINE_COLORS[i % 6], label=kind_of(name)
    )
  left.set(xlabel="step", ylabel="strength  |J'r|² / |r|²", yscale="log")
  names = logged(group, lambda n: n.startswith("train/ntk/alignment/"))
  for i, name in enumerate(names):
    steps, mean, _ = curve(group, name)
    first, second = name.split("/")[-2:]
    right.plot(steps, mean, "--", color=LINE_COLORS[i % 6], label=f"{first} · {second}")
  right.axhline(0, color="gray", linewidth=0.8)
  right.set(xlabel="step", ylabel="alignment (cosine)", ylim=(-1, 1))
  for axes in (left, right):
    axes.grid(alpha=0.3)
  legend(figure, group)
  return figure
