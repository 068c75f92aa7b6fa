"""A figure in all the forms in which a report has it."""

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from synjax.report import svg
from synjax.report.paper import Style
from synjax.report.plots import canvas
from synjax.report.sections import Image

if TYPE_CHECKING:
  from matplotlib.figure import Figure


def write(
  draw: "Callable[[], Figure | None]",
  folder: pathlib.Path,
  name: str,
  *,
  what: str,
  style: Style | None = None,
) -> Image | None:
  """Writes a figure as PNG into a folder, and for a paper where that is asked for.

  Args:
    draw: makes it; called again for each form, whose sizes differ. None: there are no values.
    folder: of the report.
    name: of the file, without its end.
    what: it shows, without a full stop; the caption, where the legend's words on bands follow.
    style: of the paper; None: there is none.

  Returns:
    The section that shows it; None without values.
  """
  figure = draw()
  if figure is None:
    return None
  bands = canvas.bands(figure)
  caption = f"{what}; {bands}." if bands else f"{what}."
  canvas.save(figure, folder / f"{name}.png")
  if style:
    style.write_figure(draw(), folder, name, caption)
  return Image(f"{name}.png", what, caption, svg.inline(figure))
