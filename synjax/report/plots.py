"""The plots of a report: loss terms, scores of the probes and a projection of the embeddings."""

import pathlib
from collections.abc import Callable, Mapping

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from synjax.report.runs import Group
from synjax.workdir import arrays as array_files
from synjax.workdir import files, scores

# Okabe and Ito's palette; Tol's "muted" with black for up to ten classes. Both colour-blind safe.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINE_STYLES = ("-", "--", "-.", (0, (1, 1)))
CLASS_COLORS = (
  *("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE"),
  *("#882255", "#44AA99", "#999933", "#AA4499", "#000000"),
)
CLASS_MARKERS = "oos^^vvDDs"
MAX_POINTS = 1500
MAX_ANCHORS = 5
NO_TASKS = ("embeddings", "masked", "masked_index", "index", "file", "ids")


def new_figure(group: Group, what: str, **size) -> Figure:
  """Makes a figure that draws into memory, whatever backend the caller's process uses."""
  figure = Figure(layout="constrained", dpi=150, **size)
  FigureCanvasAgg(figure)
  figure.suptitle(f"{what}: {group.title}", fontsize=10)
  return figure


def legend(figure: Figure, group: Group, **entries) -> None:
  """Puts one legend beside the axes, with what the bands mean; `entries` as of `Figure.legend`."""
  # Of the seeds that have values: some runs of a group may not have begun.
  seeds = {row["seed"] for run in group.runs for row in run.metrics} or set(group.seeds)
  band = f"mean ± std of {len(seeds)} seeds" if len(seeds) > 1 else "one seed"
  style = {"fontsize": 8, "title_fontsize": 8, "frameon": False}
  figure.legend(title=band, loc="outside center right", **style, **entries)


def curve(group: Group, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Returns steps, mean over seeds and std over seeds (NaN with one seed) of a logged metric."""
  values: dict[int, list[float]] = {}
  for run in group.runs:
    for row in run.metrics:
      if name in row:
        values.setdefault(row["step"], []).append(row[name])
  steps = sorted(values)
  mean = [np.mean(values[step]) for step in steps]
  std = [np.std(values[step], ddof=1) if len(values[step]) > 1 else np.nan for step in steps]
  return np.array(steps), np.array(mean), np.array(std)


def logged(group: Group, wanted: Callable[[str], bool]) -> list[str]:
  """Returns the names of logged metrics that are wanted, in the order in which they appeared."""
  return list(
    dict.fromkeys(n for run in group.runs for row in run.metrics for n in row if wanted(n))
  )


def logged_tasks(group: Group, metric: str) -> dict[str, str]:
  """Returns the logged names of a score on all of the validation split -> its task."""
  found = {name: scores.parse(name) for name in logged(group, lambda name: True)}
  return {n: s.task for n, s in found.items() if s and s == scores.Score("val", s.task, metric)}


def _draw_curves(
  axes, group: Group, names: Mapping[str, str], *, per_unit: float, scale: float
) -> None:
  """Draws mean curves, with a band of one std where there are several seeds."""
  for i, (name, label) in enumerate(names.items()):
    steps, mean, std = curve(group, name)
    style = {"color": LINE_COLORS[i % 6], "linestyle": LINE_STYLES[i % 4], "linewidth": 1.5}
    if i == len(names) - 1:
      style = {"color": "black", "linestyle": "-", "linewidth": 2}
    marker = "o" if len(steps) < 30 else None
    axes.plot(steps / per_unit, scale * mean, label=label, marker=marker, markersize=3, **style)
    low, high = scale * (mean - std), scale * (mean + std)
    axes.fill_between(steps / per_unit, low, high, color=style["color"], alpha=0.15, linewidth=0)
  axes.grid(alpha=0.3)


def plot_losses(group: Group) -> Figure | None:
  """Plots the loss (black) and its terms over steps, in nats; None without losses."""
  prefixes = ("train/term/", "train/loss/")  # unweighted where the method logs them so
  found = [sorted(logged(group, lambda name, p=p: name.startswith(p))) for p in prefixes]
  names = {name: name.split("/", 2)[2] for name in next(filter(None, found), [])}
  names |= dict.fromkeys(logged(group, lambda name: name == "train/loss"), "loss")
  if not names:
    return None
  figure = new_figure(group, "Loss and its terms", figsize=(8, 4.5))
  axes = figure.add_subplot(xlabel="step", ylabel="mean over the logging interval (nats)")
  _draw_curves(axes, group, names, per_unit=1, scale=1)
  legend(figure, group)
  return figure


def plot_accuracy(group: Group, chance: Mapping[str, float]) -> Figure | None:
  """Plots validation macro accuracies over epochs, in %; None before the first evaluation.

  Args:
    group: the runs; while their epochs have no known length, the axis counts steps.
    chance: task -> chance level, drawn as dotted lines, one for each level.

  Returns:
    The figure. A star on the mean's curve is what was selected, one a seed.
  """
  found = logged_tasks(group, "macro_accuracy")
  if not found:
    return None
  names = dict(sorted(found.items(), key=lambda item: item[1] == "mean"))
  per_epoch = group.runs[0].steps_per_epoch
  figure = new_figure(group, "Accuracy on the validation split", figsize=(8, 4.5))
  axes = figure.add_subplot(xlabel="epoch" if per_epoch else "step", ylabel="macro accuracy (%)")
  _draw_curves(axes, group, names, per_unit=per_epoch or 1, scale=100)
  selected = [r for r in group.rows if group.select_metric in names]
  if selected:
    x = [row["best_step"] / (per_epoch or 1) for row in selected]
    y = [100 * row["best_value"] for row in selected]
    axes.plot(x, y, "*", color="black", markerfacecolor="white", markersize=11, label="selected")
  known = {task: chance[task] for task in names.values() if task in chance}
  if known and "mean" in names.values():
    known["mean"] = np.mean(list(known.values()))
  for i, level in enumerate(sorted(set(known.values()))):
    tasks = ", ".join(task for task, value in known.items() if value == level)
    label = f"chance {100 * level:.1f} %: {tasks}"
    axes.axhline(
      100 * level, color="gray", linestyle=LINE_STYLES[::-1][i % 3], label=label, linewidth=1
    )
  axes.set_ylim(0, 102)
  legend(figure, group)
  return figure


def plot_errors(group: Group) -> Figure | None:
  """Plots validation mean squared errors over epochs, in units of 1e-4; None without regressions.

  Args:
    group: the runs; while their epochs have no known length, the axis counts steps.

  Returns:
    The figure, a panel for each regression, whose units differ. A star on the mean's curve is what
    was selected, one a seed; the dotted line is the error of predicting the mean label.
  """
  found = logged_tasks(group, "mse")
  if not found:
    return None
  per_epoch = group.runs[0].steps_per_epoch
  what = "Mean squared error on the validation split"
  figure = new_figure(group, what, figsize=(4.5 * len(found) + 3.5, 4.5))
  panels = np.atleast_1d(figure.subplots(1, len(found)))
  for axes, (name, task) in zip(panels, found.items(), strict=True):
    axes.set(xlabel="epoch" if per_epoch else "step", ylabel="mean squared error (1e-4)")
    axes.set_title(task, fontsize=9)
    _draw_curves(axes, group, {name: "ridge probe"}, per_unit=per_epoch or 1, scale=1e4)
    if group.rows and scores.parse_rule(group.select_metric)[0] == name:
      x = [row["best_step"] / (per_epoch or 1) for row in group.rows]
      y = [1e4 * row["best_value"] for row in group.rows]
      axes.plot(x, y, "*", color="black", markerfacecolor="white", markersize=11, label="selected")
    trivial = curve(group, f"val/{task}/mean_mse")[1]
    if len(trivial):
      axes.axhline(1e4 * trivial[-1], color="gray", linestyle=":", label="mean label", linewidth=1)
  handles = [axes.get_legend_handles_labels() for axes in figure.axes]
  unique = {label: handle for pair in handles for handle, label in zip(*pair, strict=True)}
  legend(figure, group, handles=unique.values(), labels=unique)
  return figure


def principal_components(embeddings: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
  """Fits a two-dimensional PCA: the right singular vectors of the centred embeddings.

  Args:
    embeddings: float[n, dim], n and dim at least 2.

  Returns:
    mean [dim]; directions [dim, 2], each with its largest entry positive, so that plots of the same
    data look the same; shares of the variance [2], in [0, 1].
  """
  mean = embeddings.mean(axis=0, dtype=np.float64)
  _, singular, rows = np.linalg.svd(embeddings - mean, full_matrices=False)
  directions = rows[:2].T
  signs = np.sign(directions[np.abs(directions).argmax(axis=0), [0, 1]])
  variance = np.square(singular)
  return mean, directions * signs, variance[:2] / max(variance.sum(), np.finfo(float).tiny)


def _read_embeddings(path: pathlib.Path) -> dict[str, np.ndarray]:
  """Reads what the projection needs of embeddings.npz and checks that shapes fit."""
  advice = (
    "delete the file to report without a projection, or run launch.evaluate on this workdir again"
  )
  found = array_files.read(path, advice)
  arrays = {
    name.removeprefix("test/"): array for name, array in found.items() if name.startswith("test/")
  }
  shapes = {name: array.shape for name, array in arrays.items()}
  shape = shapes.get("embeddings", ())
  good = (
    len(shape) == 3 and shape[1] >= 1 and shape[2] >= 2 and np.isfinite(arrays["embeddings"]).all()
  )
  tasks = [name for name in shapes if name not in NO_TASKS]
  good = good and all(shapes[task][:1] == shape[1:2] for task in tasks)
  good = good and all(len(shapes[task]) == 1 or _is_regression(arrays[task]) for task in tasks)
  if good and "masked" in shapes:
    examples = shapes.get("masked_index", ())
    good = shapes["masked"] == (shape[0], *shapes["masked"][1:2], *examples, shape[2])
    good = good and len(examples) == 1 and (arrays["masked_index"] < shape[1]).all()
  if not good:
    raise ValueError(
      f"{path}: expected finite test/embeddings [seeds, n, dim], test/<task> [n] (regressions:"
      " [n, outputs]) and, with masking, test/masked [seeds, num_views, m, dim] with"
      f" test/masked_index [m] < n, found {shapes}; {advice}"
    )
  return arrays


def _is_regression(labels: np.ndarray) -> bool:
  return labels.ndim == 2 and labels.shape[1] > 0


def plot_projection(group: Group) -> Figure | None:
  """Plots test embeddings in the plane of their first two principal components; None of fewer than two.

  PCA, fitted on the unmasked embeddings of the first seed; the masked ones are projected with it.
  The paper shows t-SNE instead, which has no map for new points and whose distances between groups
  mean nothing. Left: by label of the first task with classes, else by the first output of the first
  regression, with a colour bar; all alike without labels. Right: the K masked views of a few examples,
  small and hollow, joined to their unmasked embedding.
  """
  paths = [run.workdir / files.EMBEDDINGS for run in group.runs]
  path = next((path for path in paths if path.exists()), None)
  if path is None:
    return None
  seed = group.runs[paths.index(path)].config["seed"]
  arrays = _read_embeddings(path)
  task = _projected_task(arrays, group)
  embeddings = arrays["embeddings"][0]
  if len(embeddings) == 1:  # lies in no plane of its own
    return None
  mean, directions, shares = principal_components(embeddings)
  points = (embeddings - mean) @ directions
  masked = "masked" in arrays
  figure = new_figure(group, "Test embeddings, PCA", figsize=(11 if masked else 6.5, 5))
  panels = np.atleast_1d(figure.subplots(1, 1 + masked, sharex=True, sharey=True))
  shown = np.random.default_rng(0).permutation(len(points))[:MAX_POINTS]
  values = task is not None and _is_regression(arrays[task])
  if values:
    labels, style = _draw_values(figure, panels, points, arrays[task], task, shown)
  else:
    names = group.class_names(task) if task else []
    found = arrays[task] if task else np.zeros(len(points), int)
    labels, style = _draw_classes(figure, panels, points, found, task, shown, names)
  by = f", by {task}" if task else ""
  panels[0].set_title(f"unmasked{by}, seed {seed}", fontsize=9)
  if masked:
    views = (arrays["masked"][0] - mean) @ directions
    panels[1].scatter(*points[shown].T, s=8, color="lightgray", linewidth=0)
    index = arrays["masked_index"]
    anchors = _anchors(labels[index], values)
    _draw_masked(
      panels[1], points[index[anchors]], views[:, anchors], labels[index[anchors]], style
    )
    panels[1].set_title(f"the {len(views)} masked views (hollow) of some examples", fontsize=9)
  for axes in panels:
    axes.set_xlabel(f"component 1 ({100 * shares[0]:.1f} % of variance)")
    axes.set_ylabel(f"component 2 ({100 * shares[1]:.1f} % of variance)")
  return figure


def _projected_task(arrays: Mapping[str, np.ndarray], group: Group) -> str | None:
  """Returns the task that colours the projection: classes before regressions; None without labels."""
  tasks = [name for name in arrays if name not in NO_TASKS]
  classes = [name for name in tasks if not _is_regression(arrays[name])]
  first = next(iter(classes or tasks), None)
  return next((name for name in group.chance({}) if name in classes), first)


def _draw_classes(figure, panels, points, labels, task, shown, names):
  """Draws points by class; returns the classes' numbers and what gives a number its style.

  Labels are what classes are called where they have `names`, else their numbers; without a task all
  points are of one, and there is no legend.
  """
  if names:
    order = {str(name): k for k, name in enumerate(names)}
    labels = np.array([order[str(label)] for label in labels])
  labels = labels.astype(int)
  for k in np.unique(labels):
    chosen = points[shown][labels[shown] == k]
    name = str(names[k]) if names else str(k)
    panels[0].scatter(*chosen.T, s=14, alpha=0.8, linewidth=0, label=name, **_class_style(k))
  if task:
    handles = panels[0].get_legend_handles_labels()
    figure.legend(*handles, title=task, loc="outside center right", fontsize=8, frameon=False)
  return labels, _class_style


def _draw_values(figure, panels, points, labels, task, shown):
  """Draws points by the first output; returns its values and what gives a value its style."""
  values = labels[:, 0]
  scale = ScalarMappable(Normalize(values.min(), values.max()), matplotlib.colormaps["viridis"])
  panels[0].scatter(*points[shown].T, s=14, alpha=0.8, linewidth=0, c=scale.to_rgba(values[shown]))
  name = task if labels.shape[1] == 1 else f"{task}, first of {labels.shape[1]} outputs"
  figure.colorbar(scale, ax=list(panels), label=name)
  return values, lambda value: {"color": scale.to_rgba(value), "marker": "o"}


def _class_style(k: int) -> dict[str, str]:
  return {"color": CLASS_COLORS[k % 10], "marker": CLASS_MARKERS[k % 10]}


def _anchors(labels: np.ndarray, values: bool) -> np.ndarray:
  """Chooses a few examples: of different classes first, or values from the smallest to the largest."""
  if values:
    spread = np.linspace(0, len(labels) - 1, min(len(labels), MAX_ANCHORS)).round().astype(int)
    return np.argsort(labels)[spread]
  first = np.unique(labels, return_index=True)[1]
  others = np.setdiff1d(np.arange(len(labels)), first)
  return np.concatenate([first, others])[:MAX_ANCHORS]


def _draw_masked(axes, anchors, views, labels, style_of) -> None:
  """Draws masked views [num_views, m, 2] around their anchors [m, 2]."""
  for i, anchor in enumerate(anchors):
    style = style_of(labels[i])
    for view in views[:, i]:
      axes.plot(*np.stack([anchor, view]).T, color=style["color"], linewidth=0.7, alpha=0.7)
    edge = {"facecolors": "white", "edgecolors": style["color"], "linewidth": 1.1, "zorder": 3}
    axes.scatter(*views[:, i].T, s=24, marker=style["marker"], **edge)
    axes.scatter(*anchor, s=90, edgecolors="black", linewidth=1.2, zorder=4, **style)
