"""Figures at another width: legible letters, legends below the axes, no title."""

import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure
  from matplotlib.legend import Legend

SMALLEST, LARGEST = 7.0, 8.0  # points
_RATIO = 0.75  # at least: height of a narrow figure's axes over its width
_LINE = 0.16  # inches of a line of a legend
_LETTERS = 13  # an inch, at most, beside ticks and their numbers
_THINNEST = 0.6  # of what lines and markers were
_SMALLEST_POINT = 0.4  # likewise, across
_PANEL = 1.4  # inches, at least, across


def restyle(figure: "Figure", width: float) -> None:
  """Makes a figure `width` inches wide for good, all its letters `SMALLEST` to `LARGEST` points.

  Its legends go below, its title goes; lines, markers and points shrink with it. Panels that would be too
  narrow go into more rows. Names under bars that have no room side by side are turned, and lose the
  numbers in the bars.
  """
  old_width, old_height = figure.get_size_inches()
  old_height *= _regrid(figure, width)
  turned = max((_turn_names(axes, width) for axes in figure.axes), default=0)
  rows = sum(_lay_below(figure, legend, width) for legend in _legends(figure))
  figure.suptitle("")
  height = max(width * old_height / old_width, _RATIO * width) + turned / _LETTERS
  figure.set_size_inches(width, height + _LINE * rows)
  for axes in figure.axes:
    _shrink(axes, width / old_width)
    _fit_words(axes, width, height - turned / _LETTERS)
  _resize_letters(figure)


def _regrid(figure: "Figure", width: float) -> float:
  """Puts panels that are too narrow into more rows; returns by how much the figure gets higher."""
  panels = [axes for axes in figure.axes if axes.get_subplotspec()]
  panels.sort(key=lambda axes: not axes.has_data())  # empty ones last; a bar of colours knows them
  across, down = max((_columns(axes) for axes in panels), default=(1, 1))
  fit = max(int(width // _PANEL), 1)
  if across <= fit:
    return 1.0
  rows = -(-len(panels) // fit)
  grid = figure.add_gridspec(rows, fit)
  for i, axes in enumerate(panels):
    axes.set_subplotspec(grid[i // fit, i % fit])
  return rows / down * across / fit


def _resize_letters(figure: "Figure") -> None:
  from matplotlib.text import Text

  fit = lambda size: min(max(size, SMALLEST), LARGEST)  # noqa: E731
  for axes in figure.axes:
    for axis in (axes.xaxis, axes.yaxis):  # ticks are made anew when the size has changed
      labels = axis.get_ticklabels()
      axis.set_tick_params(labelsize=fit(labels[0].get_fontsize() if labels else LARGEST))
  for text in figure.findobj(Text):
    text.set_fontsize(fit(text.get_fontsize()))


def _legends(figure: "Figure") -> Iterator["Legend"]:
  """Yields the figure's legends and, of a single panel, its own."""
  yield from list(figure.legends)
  if len(figure.axes) == 1 and (legend := figure.axes[0].get_legend()):
    yield legend


def _lay_below(figure: "Figure", legend: "Legend", width: float) -> int:
  """Puts a legend below the axes in as many columns as there is room for; returns its lines."""
  handles, texts = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
  longest = max((len(line) for text in texts for line in text.split("\n")), default=1)
  columns = min(len(texts), max(1, int(_LETTERS * width // (longest + 6))))
  legend.remove()
  style = {"loc": "outside lower center", "frameon": False, "fontsize": SMALLEST}
  figure.legend(handles, texts, ncols=columns, **style)
  return -(-sum(text.count("\n") + 1 for text in texts) // max(columns, 1))


def _columns(axes: "Axes") -> tuple[int, int]:
  """Returns how many panels stand side by side and below each other."""
  grid = axes.get_gridspec()
  return (grid.ncols, grid.nrows) if grid else (1, 1)


def _turn_names(axes: "Axes", width: float) -> int:
  """Turns names under bars that have no room side by side, without the numbers in such bars.

  Returns:
    Letters of the longest name that was turned.
  """
  from matplotlib.container import BarContainer

  bars = any(isinstance(found, BarContainer) for found in axes.containers)
  names = [label for label in axes.get_xticklabels() if bars and label.get_text()]
  letters = sum(len(label.get_text()) for label in names)
  if axes.texts and letters > _LETTERS * width / _columns(axes)[0] / 1.5:
    for label in names:
      label.set(rotation=90, ha="center", va="top", rotation_mode="default")
    for text in list(axes.texts):
      text.remove()
    return max(len(label.get_text()) for label in names)
  return 0


def _shrink(axes: "Axes", ratio: float) -> None:
  """Makes lines and markers thinner and points smaller, where the figure got smaller."""
  from matplotlib.collections import PathCollection

  if ratio >= 1:
    return
  thinner = max(ratio, _THINNEST)
  for line in axes.lines:
    line.set(linewidth=line.get_linewidth() * thinner, markersize=line.get_markersize() * thinner)
  for cloud in axes.collections:
    if isinstance(cloud, PathCollection):
      cloud.set_sizes(cloud.get_sizes() * max(ratio, _SMALLEST_POINT) ** 2)


def _fit_words(axes: "Axes", width: float, height: float) -> None:
  """Breaks titles and labels that are longer than their panel has room for."""
  across, down = _columns(axes)
  panel = width / across * (0.85 if across > 1 else 1)
  rooms = ((axes.title, panel), (axes.xaxis.label, panel))
  for text, room in (*rooms, (axes.yaxis.label, 0.85 * height / down)):
    text.set_text(_wrap(text.get_text(), room))


def _wrap(text: str, inches: float) -> str:
  """Breaks lines that are longer than there is room for."""
  most = max(int(_LETTERS * inches), 8)
  return "\n".join(part for line in text.split("\n") for part in _parts(line, most))


def _parts(line: str, most: int) -> list[str]:
  return textwrap.wrap(line, most, break_long_words=False)
