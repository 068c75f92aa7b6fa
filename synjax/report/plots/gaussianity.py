"""How Gaussian masked views are, of `gaussianity.npz`: statistics over epochs, scores of the last."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from synjax.report.plots.base import Plot
from synjax.report.plots.canvas import LINE_COLORS, explained_legend, new_figure
from synjax.report.runs import Group
from synjax.workdir import arrays as array_files
from synjax.workdir import files

if TYPE_CHECKING:
  from matplotlib.figure import Figure

PANELS = {
  "gap": "gap of the bound (nats)",
  "skewness": "skewness",
  "excess_kurtosis": "excess kurtosis",
  "ks": "Kolmogorov-Smirnov statistic",
  "variance": "variance of the scores",
}
HISTOGRAM_RANGE = 5.0
_BINS = 60


def quartiles(values: np.ndarray) -> np.ndarray:
  """Computes quartiles and median over examples, [epochs, examples] -> [3, epochs]; NaN are left out.

  An epoch in which nothing is finite gives NaN.
  """
  finite = [row[np.isfinite(row)] for row in np.asarray(values, np.float64)]
  rows = [np.quantile(row, (0.25, 0.5, 0.75)) if len(row) else np.full(3, np.nan) for row in finite]
  return np.array(rows).reshape(-1, 3).T


def standardise(scores: np.ndarray) -> np.ndarray:
  """Takes mean and std (no n - 1) out of every example's scores; examples without spread are left out.

  Args:
    scores: [examples, masks].

  Returns:
    float64[all scores of the examples that are left].
  """
  scores = np.asarray(scores, np.float64)
  std = scores.std(axis=1)
  spread = std > 1e-6 * np.abs(scores).max(axis=1)
  scores, std = scores[spread], std[spread]
  return ((scores - scores.mean(axis=1, keepdims=True)) / std[:, None]).ravel()


def plot_gaussianity(
  epochs: Sequence[float],
  statistics: Mapping[str, np.ndarray],
  scores: np.ndarray,
  *,
  reference: Mapping[str, np.ndarray] | None = None,
  title: str = "",
) -> "Figure":
  """Plots the statistics of `evaluators.gaussianity` over epochs and a histogram of the last scores.

  Lines are medians over examples, bands reach from the lower to the upper quartile. In the histogram
  every example's scores are standardised by themselves; the black line is N(0, 1).

  Args:
    epochs: [epochs], increasing: when the model was looked at.
    statistics: name -> float[epochs, examples], of `gaussianity`: gap, skewness, excess_kurtosis, ks
      and variance.
    scores: float[examples, masks] of the last epoch, divided by the temperature.
    reference: as `statistics`, of `gaussian_reference`: what the statistics would be were the scores
      normal, drawn in black; None: not drawn.
    title: which run and split, put above the panels.

  Returns:
    The figure: six panels.

  Raises:
    ValueError: a statistic is missing or is not [epochs, examples]; there is no epoch.
  """
  series = {"masked views": statistics}
  if reference is not None:
    series["normal draws of the same variance and number"] = reference
  for name, values in series.items():
    shapes = {panel: np.shape(values[panel]) if panel in values else None for panel in PANELS}
    if not len(epochs) or any(
      s is None or len(s) != 2 or s[0] != len(epochs) for s in shapes.values()
    ):
      raise ValueError(
        f"plot_gaussianity: {name}: expected arrays [epochs = {len(epochs)} > 0, examples], found"
        f" {shapes}"
      )
  what = f"Masked views seen from the unmasked embedding: {title}".rstrip(": ")
  figure = new_figure(what, figsize=(11, 6.2))
  *panels, last = figure.subplots(2, 3).ravel()
  for axes, panel in zip(panels, PANELS, strict=True):
    # The variance of the normal draws is the same by construction.
    shown = {"masked views": statistics} if panel == "variance" else series
    _draw_curves(axes, panel, epochs, {name: values[panel] for name, values in shown.items()})
  _draw_histogram(last, scores, epochs[-1])
  handles = panels[0].get_legend_handles_labels()
  words = "median over examples, band: quartiles"
  entries = dict(zip(("handles", "labels"), handles, strict=True))
  explained_legend(figure, words, "outside lower center", ncols=2, **entries)
  return figure


def _draw_curves(axes, panel: str, epochs, series: Mapping[str, np.ndarray]) -> None:
  """Draws medians and quartiles of [epochs, examples] each, the second series in black."""
  for (name, values), color in zip(series.items(), (LINE_COLORS[0], "black"), strict=False):
    low, median, high = quartiles(values)
    marker = "o" if len(epochs) < 30 else None
    axes.plot(epochs, median, color=color, marker=marker, markersize=3, linewidth=1.5, label=name)
    axes.fill_between(epochs, low, high, color=color, alpha=0.2, linewidth=0)
  axes.set(xlabel="epoch", ylabel=PANELS[panel])
  axes.grid(alpha=0.3)
  if panel in ("gap", "skewness", "excess_kurtosis"):
    axes.axhline(0, color="gray", linewidth=0.8)
  else:
    axes.set_ylim(bottom=0)


def _draw_histogram(axes, scores: np.ndarray, epoch: float) -> None:
  """Draws the density of standardised scores within +-5 against N(0, 1)."""
  standard = standardise(scores)
  edges = np.linspace(-HISTOGRAM_RANGE, HISTOGRAM_RANGE, _BINS + 1)
  beyond = int((np.abs(standard) > HISTOGRAM_RANGE).sum())
  # Of all scores, so that those outside the panel are missing from the area, not spread over it.
  density = np.histogram(standard, edges)[0] / max(len(standard), 1) / (edges[1] - edges[0])
  axes.stairs(density, edges, fill=True, color=LINE_COLORS[0], alpha=0.5)
  x = np.linspace(-HISTOGRAM_RANGE, HISTOGRAM_RANGE, 201)
  axes.plot(x, np.exp(-(x**2) / 2) / np.sqrt(2 * np.pi), color="black", linewidth=1.5)
  note = f"epoch {epoch:g}, {len(standard)} scores"
  axes.set_title(f"{note}, {beyond} beyond ±{HISTOGRAM_RANGE:g}" if beyond else note, fontsize=8)
  axes.set(xlabel="standardised score", ylabel="density; black: N(0, 1)")
  axes.grid(alpha=0.3)


def draw(group: Group) -> "Figure | None":
  """Plots what the only run of a group recorded; examples of all its trials are pooled.

  Beside it, in black, normal draws of the same variances and number: what the numbers would be were
  the masked views Gaussian.
  """
  from synjax.evaluators.estimators import normality  # loads jax, with the package of evaluators

  (run,) = group.runs
  advice = "delete the file to report without this plot"
  needed = ("epoch", "scores", *normality.STATISTICS)
  arrays = array_files.read(run.workdir / files.GAUSSIANITY, advice, needed)
  epochs, scores, count = arrays["epoch"], arrays["scores"], len(arrays["epoch"])
  statistics = {name: arrays[name].reshape(count, -1) for name in normality.STATISTICS}
  scores = scores.reshape(-1, scores.shape[-1])
  masks = scores.shape[1]
  rows = [
    normality.gaussian_reference(own * masks / (masks - 1), num_masks=masks)
    for own in statistics["variance"]
  ]
  reference = {name: np.stack([row[name] for row in rows]) for name in normality.STATISTICS}
  title = str(run.workdir)
  return plot_gaussianity(epochs, statistics, scores, reference=reference, title=title)


PLOT = Plot(
  "gaussianity",
  "How far <q, z_mask> is from a normal distribution, in black what normal draws would give",
  lambda group: (group.runs[0].workdir / files.GAUSSIANITY).exists(),
  draw,
  each_run=True,
)
