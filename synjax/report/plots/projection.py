"""The test embeddings in a plane, masked views beside them."""

import pathlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from synjax.report.names import classes
from synjax.report.plots.base import Plot, is_probed
from synjax.report.plots.canvas import group_figure
from synjax.report.runs import Group
from synjax.workdir import arrays as array_files
from synjax.workdir import files
from synjax.workdir.scores import todays_names

if TYPE_CHECKING:
  from matplotlib.figure import Figure

# Tol's "muted" with black for up to ten classes, which is colour-blind safe.
CLASS_COLORS = (
  *("#332288", "#CC6677", "#117733", "#DDCC77", "#88CCEE"),
  *("#882255", "#44AA99", "#999933", "#AA4499", "#000000"),
)
CLASS_MARKERS = "oos^^vvDDs"
MAX_POINTS = 1500
MAX_NEIGHBOURS = 800  # of t-SNE, which takes seconds
MAX_ANCHORS = 5
NO_TASKS = ("embeddings", "masked", "masked_index", "index", "file", "ids")


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


def _file(group: Group) -> tuple[pathlib.Path, int] | None:
  """Returns the first file of embeddings and the first seed of its run; None: there is none."""
  found = ((run.workdir / files.EMBEDDINGS, run.config["seed"]) for run in group.runs)
  return next(((path, seed) for path, seed in found if path.exists()), None)


def draw(group: Group) -> "Figure | None":
  """Plots test embeddings in the plane of their first two principal components; None of fewer than two.

  PCA, fitted on the unmasked embeddings of the first seed; the masked ones are projected with it. Left:
  by label of the first task with classes, else by the first output of the first regression, with a
  colour bar; all alike without labels. Right: the K masked views of a few examples, small and hollow,
  joined to their unmasked embedding.
  """
  return _draw(group, "PCA", _principal_places)


def draw_tsne(group: Group) -> "Figure | None":
  """Plots the same by t-SNE, as InfMasking's paper does; masked views are placed with all others.

  It has no map for new points, and distances between groups mean nothing.
  """
  return _draw(group, "t-SNE", _tsne_places, most=MAX_NEIGHBOURS)


def _principal_places(embeddings, rows, views):
  mean, directions, shares = principal_components(embeddings)
  names = [
    f"component {i} ({100 * share:.1f} % of variance)" for i, share in enumerate(shares, start=1)
  ]
  return (embeddings[rows] - mean) @ directions, (views - mean) @ directions, names


def _tsne_places(embeddings, rows, views):
  from sklearn.manifold import TSNE  # takes a second

  every = np.concatenate([embeddings[rows], views.reshape(-1, embeddings.shape[1])])
  perplexity = min(30.0, max((len(every) - 1) / 3, 1.0))
  tsne = TSNE(perplexity=perplexity, random_state=0)
  places = tsne.fit_transform(every.astype(np.float32))
  split = places[: len(rows)], places[len(rows) :].reshape(*views.shape[:2], 2)
  return *split, ["t-SNE, first axis", "t-SNE, second axis"]


def _draw(group: Group, how: str, place, most: int = MAX_POINTS) -> "Figure | None":
  """Draws both panels.

  Args:
    group: of runs.
    how: the plane is found.
    place: embeddings [n, dim], rows to show, masked views [num_views, m, dim] -> [rows, 2],
      [num_views, m, 2] and what the axes are called.
    most: examples that are shown, beside those with masked views.
  """
  file = _file(group)
  if file is None:
    return None
  path, seed = file
  arrays = todays_names(_read_embeddings(path), group.config["data"]["name"])
  task = _projected_task(arrays, group)
  embeddings = arrays["embeddings"][0]
  if len(embeddings) == 1:  # lies in no plane of its own
    return None
  values = task is not None and _is_regression(arrays[task])
  labels = arrays[task][:, 0] if values else _class_numbers(arrays, task, group)
  rows = np.random.default_rng(0).permutation(len(embeddings))[:most]
  masked = "masked" in arrays
  index = arrays["masked_index"] if masked else np.zeros(0, int)
  anchors = _anchors(labels[index], values)
  views = arrays["masked"][0][:, anchors] if masked else np.zeros((0, 0, embeddings.shape[1]))
  rows = np.concatenate([rows, np.setdiff1d(index[anchors], rows)]).astype(int)
  points, views, names = place(embeddings, rows, views)

  figure = group_figure(group, f"Test embeddings, {how}", figsize=(11 if masked else 6.5, 5))
  panels = np.atleast_1d(figure.subplots(1, 1 + masked, sharex=True, sharey=True))
  if values:
    style = _draw_values(figure, panels, points, arrays[task], task, rows)
  else:
    style = _draw_classes(figure, panels[0], points, labels[rows], task, group)
  by = f", by {task}" if task else ""
  panels[0].set_title(f"unmasked{by}, seed {seed}", fontsize=9)
  if masked:
    panels[1].scatter(*points.T, s=8, color="lightgray", linewidth=0)
    of = [int(np.flatnonzero(rows == row)[0]) for row in index[anchors]]
    _draw_masked(panels[1], points[of], views, labels[index[anchors]], style)
    panels[1].set_title(f"the {len(views)} masked views (hollow) of some examples", fontsize=9)
  for axes in panels:
    axes.set(xlabel=names[0], ylabel=names[1])
  return figure


def _projected_task(arrays: Mapping[str, np.ndarray], group: Group) -> str | None:
  """Returns the task that colours the projection: classes before regressions; None without labels."""
  tasks = [name for name in arrays if name not in NO_TASKS]
  classes = [name for name in tasks if not _is_regression(arrays[name])]
  first = next(iter(classes or tasks), None)
  return next((name for name in group.chance if name in classes), first)


def _class_numbers(arrays: Mapping[str, np.ndarray], task: str | None, group: Group) -> np.ndarray:
  """Returns the number of every example's class; without a task all are of one.

  Labels in the file are what classes are called, where the results have names, else their numbers.
  """
  if not task:
    return np.zeros(arrays["embeddings"].shape[1], int)
  names = group.class_names(task)
  if not names:
    return arrays[task].astype(int)
  order = {str(name): k for k, name in enumerate(names)}
  return np.array([order[str(label)] for label in arrays[task]])


def _draw_classes(figure, axes, points, labels, task, group):
  """Draws points by class, with a legend where there is a task; returns what gives a class its style."""
  names = (group.class_names(task) or classes(group.dataset, task)) if task else ()
  for k in np.unique(labels):
    chosen = points[labels == k]
    name = str(names[k]) if k < len(names) else str(k)
    axes.scatter(*chosen.T, s=14, alpha=0.8, linewidth=0, label=name, **_class_style(k))
  if task:
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, title=task, loc="outside center right", fontsize=8, frameon=False)
  return _class_style


def _draw_values(figure, panels, points, labels, task, shown):
  """Draws points by the first output; returns what gives a value its style."""
  import matplotlib
  from matplotlib.cm import ScalarMappable
  from matplotlib.colors import Normalize

  values = labels[:, 0]
  scale = ScalarMappable(Normalize(values.min(), values.max()), matplotlib.colormaps["viridis"])
  panels[0].scatter(*points.T, s=14, alpha=0.8, linewidth=0, c=scale.to_rgba(values[shown]))
  name = task if labels.shape[1] == 1 else f"{task}, first of {labels.shape[1]} outputs"
  figure.colorbar(scale, ax=list(panels), label=name)
  return lambda value: {"color": scale.to_rgba(value), "marker": "o"}


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


def _when(group: Group) -> bool:
  return _file(group) is not None or is_probed(group)


PLOT = Plot("projection", "PCA fitted on the unmasked test embeddings", _when, draw)
TSNE = Plot("tsne", "t-SNE of test embeddings and masked views together", _when, draw_tsne)
