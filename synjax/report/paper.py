"""Figures as papers print them: of a column's width, legible, without a title, beside a caption."""

import dataclasses
import pathlib
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from synjax.report import latex
from synjax.report.comparison import Comparison
from synjax.report.comparison_sections import to_csv
from synjax.workdir.files import replacing, write_atomically

if TYPE_CHECKING:
  from matplotlib.axes import Axes
  from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
SMALLEST = 7.0  # points
COLUMN = 3.25  # inches
_RATIO = 0.75  # at least: height of a narrow figure's axes over its width
_DOTS = 300
_LETTERS = 13  # an inch, at most, beside ticks and their numbers
# Text stays text: TrueType in PDF, letters in SVG.
_SETTINGS = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "synjax"}


def restyle(figure: "Figure", width: float) -> None:
  """Makes a figure `width` inches wide, its texts `SMALLEST` to 8 points, its legends below, no title."""
  from matplotlib.text import Text

  old_width, old_height = figure.get_size_inches()
  rows = 0
  inside = [legend for axes in figure.axes[:1] if (legend := axes.get_legend())]
  turned = max((_turn_names(axes, width) for axes in figure.axes), default=0)
  for legend in [*figure.legends, *(inside if len(figure.axes) == 1 else [])]:
    handles, texts = legend.legend_handles, [text.get_text() for text in legend.get_texts()]
    longest = max((len(line) for text in texts for line in text.split("\n")), default=1)
    columns = min(len(texts), max(1, int(_LETTERS * width // (longest + 6))))
    legend.remove()
    rows += -(-sum(text.count("\n") + 1 for text in texts) // columns)
    figure.legend(
      handles, texts, loc="outside lower center", ncols=columns, frameon=False, fontsize=SMALLEST
    )
  figure.suptitle("")
  height = max(width * old_height / old_width, _RATIO * width) + 0.16 * rows + turned / _LETTERS
  figure.set_size_inches(width, height)
  for text in figure.findobj(Text):
    text.set_fontsize(min(max(text.get_fontsize(), SMALLEST), 8.0))
  for axes in figure.axes:
    grid = axes.get_gridspec()
    across, down = (grid.ncols, grid.nrows) if grid else (1, 1)
    for text, room in (
      (axes.title, width / across),
      (axes.xaxis.label, width / across),
      (axes.yaxis.label, height / down),
    ):
      text.set_text(_wrap(text.get_text(), room))


def _turn_names(axes: "Axes", width: float) -> int:
  """Turns names under bars that have no room side by side, without the numbers in such bars.

  Returns:
    Letters of the longest name that was turned.
  """
  names = [label for label in axes.get_xticklabels() if label.get_text()]
  letters = sum(len(label.get_text()) for label in names)
  if axes.texts and letters > _LETTERS * width / 1.5:
    for label in names:
      label.set(rotation=90, ha="center", va="top", rotation_mode="default")
    for text in list(axes.texts):
      text.remove()
    return max(len(label.get_text()) for label in names)
  return 0


def _wrap(text: str, inches: float) -> str:
  """Breaks lines that are longer than there is room for."""
  most = max(int(_LETTERS * inches), 8)
  return "\n".join(part for line in text.split("\n") for part in textwrap.wrap(line, most))


@dataclasses.dataclass(frozen=True)
class Style:
  """How figures for a paper are written.

  Attributes:
    formats: of `FORMATS`.
    width: inches.
  """

  formats: Sequence[str] = ("pdf",)
  width: float = COLUMN

  def __post_init__(self):
    wrong = sorted(set(self.formats) - set(FORMATS))
    if wrong or not self.formats or not self.width > 0:
      raise ValueError(
        f"--format, --width: expected some of {', '.join(FORMATS)} and inches above 0, found"
        f" {', '.join(self.formats) or 'none'} and {self.width}"
      )

  def write_figure(self, figure: "Figure", folder: pathlib.Path, name: str) -> list[pathlib.Path]:
    """Writes a figure into paper/ of a folder, and returns the files; it is restyled for good."""
    import matplotlib

    restyle(figure, self.width)
    files = [_inside(folder) / f"{name}.{end}" for end in self.formats]
    with matplotlib.rc_context(_SETTINGS):
      for file, end in zip(files, self.formats, strict=True):
        date = {"CreationDate": None} if end == "pdf" else {"Date": None} if end == "svg" else {}
        with replacing(file) as temporary:
          figure.savefig(temporary, format=end, dpi=_DOTS, metadata=date)
    return files

  def write_tables(self, found: Sequence[Comparison], folder: pathlib.Path) -> None:
    """Writes table_1.tex (booktabs) and table_1.csv of the first comparison into paper/, and so on."""
    for number, comparison in enumerate((one for one in found if one.columns), 1):
      write_atomically(_inside(folder) / f"table_{number}.tex", latex.table(comparison))
      write_atomically(_inside(folder) / f"table_{number}.csv", to_csv(comparison))


def _inside(folder: pathlib.Path) -> pathlib.Path:
  inside = folder / "paper"
  inside.mkdir(parents=True, exist_ok=True)
  return inside
