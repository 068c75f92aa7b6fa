"""Figures as SVG inside a page: what is drawn, and the values that are shown under the pointer."""

import io
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from synjax.report.restyle import restyle

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

_PANEL = 2.3  # inches
_MOST_POINTS = 1000  # that a line or a cloud shows values of
_PER_INCH = 72  # of the units of matplotlib's SVG
_HEAD = re.compile(r"^.*?(?=<svg )|<metadata>.*?</metadata>\s*", re.DOTALL)
_ID = re.compile(r'<g id="[^"]*"')
_SIZE = re.compile(r'<svg ([^>]*?)width="[^"]*"')
_HEIGHT = re.compile(r'(<svg [^>]*?)height="[^"]*" ?')
_SETTINGS = {"svg.fonttype": "none", "font.family": "sans-serif", "svg.hashsalt": "synjax"}


def inline(figure: "Figure") -> str:
  """Returns a figure as an SVG element of a page; points of lines, bars and clouds have values.

  It is restyled for good, so that its letters can be read on a phone: panels of `_PANEL` inches, at least
  two of them wide. More than two side by side are of the class "broad": a page does not shrink them.

  The values are a JSON list of [x, y, text] in the attribute `data-points`, in the units of the element's
  viewBox; the page's script shows the text of the one nearest to the pointer.

  Args:
    figure: of any size.
  """
  import matplotlib

  panels = max((len(row) for row in _rows(figure)), default=1)
  restyle(figure, _PANEL * max(panels, 2))
  with matplotlib.rc_context(_SETTINGS):
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata={"Date": None})
  text = _HEAD.sub("", file.getvalue())
  text = _HEIGHT.sub(r"\1", _SIZE.sub(r"<svg \1", _ID.sub("<g", text), count=1), count=1)
  points = json.dumps(_points(figure), separators=(",", ":"), ensure_ascii=False)
  broad = 'class="broad" ' if panels > 2 else ""
  head = f'<svg {broad}role="img" data-points="{_escape(points)}" '
  return text.replace("<svg ", head, 1).strip()


def _rows(figure: "Figure") -> list[list["Axes"]]:
  """Returns the panels of every row of the grid; bars of colours are none."""
  rows: dict[int, list[Axes]] = {}
  for axes in figure.axes:
    place = axes.get_subplotspec()
    if place is not None:
      rows.setdefault(place.rowspan.start, []).append(axes)
  return list(rows.values())


def _escape(text: str) -> str:
  for char, name in (("&", "amp"), ("<", "lt"), (">", "gt"), ('"', "quot")):
    text = text.replace(char, f"&{name};")
  return text


def _points(figure: "Figure") -> list[list[Any]]:
  """Returns [x, y, text] of everything that has a value; drawn already, so that all is at its place."""
  scale, height = _PER_INCH / figure.dpi, figure.get_figheight() * _PER_INCH
  found = []
  for axes in figure.axes:
    for data, place, label in [*_of_lines(axes), *_of_bars(axes), *_of_clouds(axes)]:
      for (x, y), (left, up) in zip(data, place, strict=True):
        if np.isfinite([left, up]).all():
          text = "\n".join(filter(None, [label, _value(axes, x, y)]))
          found.append([round(left * scale, 1), round(height - up * scale, 1), text])
  return found


def _of_lines(axes: "Axes"):
  """Yields (data, pixels, label) of every line that has one; lines across all of the axes have none."""
  for line in axes.lines:
    label, data = str(line.get_label()), np.asarray(line.get_xydata(), float)
    if line.get_transform() == axes.transData and not label.startswith("_"):
      data = _thin(data)
      yield data, axes.transData.transform(data), label


def _of_bars(axes: "Axes"):
  from matplotlib.patches import Rectangle

  bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
  if bars:
    across = len(bars) > 1 and len({round(bar.get_height(), 9) for bar in bars}) == 1
    for bar in bars:
      x, y = bar.get_x(), bar.get_y()
      width, height = bar.get_width(), bar.get_height()
      end = [[x + width, y + height / 2]] if across else [[x + width / 2, y + height]]
      yield np.array(end), axes.transData.transform(end), ""


def _of_clouds(axes: "Axes"):
  """Yields (data, pixels, label) of every cloud that has one: what has none lies behind another."""
  from matplotlib.collections import PathCollection

  for cloud in axes.collections:
    label = str(cloud.get_label())
    if isinstance(cloud, PathCollection) and not label.startswith("_"):
      data = _thin(np.ma.filled(cloud.get_offsets(), np.nan))
      yield data, cloud.get_offset_transform().transform(data), label


def _thin(data: np.ndarray) -> np.ndarray:
  """Returns at most `_MOST_POINTS` of the points, the first and the last among them."""
  if len(data) <= _MOST_POINTS:
    return data
  return data[np.linspace(0, len(data) - 1, _MOST_POINTS).round().astype(int)]


def _value(axes: "Axes", x: float, y: float) -> str:
  """Returns the values of a point as the axes name them; a tick with a name stands for its number."""
  texts = []
  for axis, value in ((axes.xaxis, x), (axes.yaxis, y)):
    name = axis.get_label_text().partition("\n")[0]
    ticks = dict(
      zip(axis.get_ticklocs(), (t.get_text() for t in axis.get_ticklabels()), strict=False)
    )
    tick = ticks.get(value, "")
    named = tick and not re.fullmatch(r"[−\-+\d.e×$\\{}^a-z ]*", tick)
    shown = tick.replace("\n", " ") if named else f"{value:.4g}"
    texts.append(f"{name}: {shown}" if name else shown)
  return "\n".join(texts)
