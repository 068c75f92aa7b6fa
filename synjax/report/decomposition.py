"""What modalities tell about a label, in words and as a figure; of launch.pid."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from synjax.report.plots.canvas import LINE_COLORS, new_figure

if TYPE_CHECKING:
  from matplotlib.figure import Figure

_WHY = (
  "clusters see what lies in the directions of largest variance, and miss the rest; classifiers miss"
  " what they do not learn, so that their synergy is a lower bound: trust what both find"
)
_NO_BOUND = (
  "note: these figures are what these estimators see in these features, and no bound on what the data"
  " hold"
)
_TRAIN = (
  "; raw features can hide a part from both estimators that trained encoders show: train a run (README,"
  " Your own data), then python -m launch.pid --workdir=RUN"
)
PARTS = ("redundancy", "unique1", "unique2", "synergy")


def describe(row: Mapping[str, Any]) -> list[str]:
  """Says what one pair of modalities tells about one label, a line a part.

  Args:
    row: "task", "modalities" (two names), "estimator", "examples", "cells", "label_entropy" (bits), and
      "parts": part -> fields of `pid_interval.Part`.

  Returns:
    A heading and a line for each part and for the information of both.
  """
  first, second = row["modalities"]
  heading = (
    f"{first} + {second} about {row['task']}, by {row['estimator']} ({row['examples']} examples,"
    f" {row['cells']} cells, H = {row['label_entropy']:.2f} bits)"
  )
  names = {
    "redundancy": "redundant",
    "unique1": f"only in {first}",
    "unique2": f"only in {second}",
    "synergy": "synergy",
    "information": "both together",
  }
  width = max(map(len, names.values()))
  return [heading] + [
    f"  {name:{width}s}  {_say(row['parts'][part])}" for part, name in names.items()
  ]


def _say(part: Mapping[str, Any]) -> str:
  """Says an estimate, or that there is none."""
  interval = f"[{part['low']:.3f}, {part['high']:.3f}]"
  if part["distinguishable"]:
    return f"{part['estimate']:.3f} bits {interval}"
  null = f"shuffled labels read {part['null_mean']:.3f} +- {part['null_std']:.3f}"
  found = f"not distinguishable from zero, at most {part['high']:.3f} bits seen here ({null}"
  if part["examples_needed"] is None:
    return f"{found})"
  needed = f"about {float(format(part['examples_needed'], '.2g')):,.0f} examples would show it"
  return f"{found}; if {part['estimate']:.3f} is right, {needed})"


def caveat(*, raw: bool) -> str:
  """Says what the figures are not, whatever they are.

  Args:
    raw: True: of features as they are in the data; False: of those that trained encoders make.
  """
  return _NO_BOUND + _TRAIN * raw


def disagreements(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[str]:
  """Says where two estimators differ on a pair, and how that comes; [] where they agree.

  Args:
    first: row of `describe`, by one estimator.
    second: of the same modalities and label, by the other.
  """
  found = []
  for name, a in first["parts"].items():
    b = second["parts"][name]
    apart = a["low"] > b["high"] or b["low"] > a["high"]
    if apart or a["distinguishable"] != b["distinguishable"]:
      said = [
        f"{row['estimator']} {part['estimate']:.3f} [{part['low']:.3f}, {part['high']:.3f}]"
        for row, part in ((first, a), (second, b))
      ]
      found.append(f"  the estimators disagree on {name}: {', '.join(said)}")
  return [*found, f"  ({_WHY})"] if found else []


def plot(rows: Sequence[Mapping[str, Any]], *, title: str) -> "Figure":
  """Draws the parts of every pair, one panel a pair and label, one bar a part and estimator.

  Whiskers are 95 % intervals; hollow bars are not distinguishable from zero; a grey tick is what shuffled
  labels read (mean + 2 standard deviations).

  Args:
    rows: as of `describe`.
    title: of the figure.

  Returns:
    The figure.

  Raises:
    ValueError: no rows.
  """
  if not rows:
    raise ValueError("decomposition.plot: expected at least one pair, found none")
  panels: dict[tuple, list] = {}
  for row in rows:
    panels.setdefault((row["task"], *row["modalities"]), []).append(row)
  columns = min(len(panels), 3)
  lines = -(-len(panels) // columns)
  figure = new_figure(title, figsize=(1.5 + 3.2 * columns, 0.8 + 2.4 * lines))
  axes = figure.subplots(lines, columns, squeeze=False).ravel()
  for panel, ((task, first, second), own) in zip(axes, panels.items(), strict=False):
    _draw(panel, own)
    panel.set_title(f"{first} + {second}: {task}", fontsize=9)
    panel.set_xticks(range(4), ["redundant", f"only\n{first}", f"only\n{second}", "synergy"])
    panel.tick_params(labelsize=8)
    panel.set_ylabel("bits", fontsize=8)
    panel.grid(alpha=0.3, axis="y")
  for panel in axes[len(panels) :]:
    panel.set_axis_off()
  figure.legend(
    *axes[0].get_legend_handles_labels(),
    loc="outside lower center",
    ncols=3,
    fontsize=8,
    frameon=False,
  )
  return figure


def _draw(axes, rows: Sequence[Mapping[str, Any]]) -> None:
  width = 0.8 / len(rows)
  for i, row in enumerate(rows):
    x = np.arange(len(PARTS)) + (i - (len(rows) - 1) / 2) * width
    parts = [row["parts"][name] for name in PARTS]
    value = np.array([part["estimate"] for part in parts])
    ends = np.array([[part["low"], part["high"]] for part in parts])
    color = LINE_COLORS[i]
    fill = [(color, 0.8 if part["distinguishable"] else 0.0) for part in parts]
    # The interval need not hold a corrected estimate that was clipped at 0.
    whiskers = np.maximum(
      np.abs(ends.T - value) * np.sign([[-1], [1]]) * np.sign(ends.T - value), 0
    )
    axes.bar(x, value, width, color=fill, edgecolor=color, label=row["estimator"])
    axes.errorbar(x, value, yerr=whiskers, fmt="none", ecolor="black", capsize=2, linewidth=1)
    null = [part["null_mean"] + 2 * part["null_std"] for part in parts]
    label = "shuffled labels + 2 std" if i == 0 else None
    axes.plot(x, null, "_", color="gray", markersize=10, label=label)
