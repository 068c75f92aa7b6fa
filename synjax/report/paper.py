"""Figures as papers print them: of a column's width, legible, without a title, beside a caption."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from synjax.report import latex
from synjax.report.comparison import Comparison
from synjax.report.comparison_sections import to_csv
from synjax.report.restyle import restyle
from synjax.workdir.files import replacing, write_atomically

if TYPE_CHECKING:
  from matplotlib.figure import Figure

FORMATS = ("pdf", "svg", "png")
COLUMN = 3.25  # inches
_DOTS = 300
# Text stays text: TrueType in PDF, letters in SVG.
_SETTINGS = {"pdf.fonttype": 42, "svg.fonttype": "none", "svg.hashsalt": "synjax"}


@dataclasses.dataclass(frozen=True)
class Style:
  """How figures for a paper are written.

  Attributes:
    formats: of `FORMATS`.
    width: inches.
    folder: where paper/ is made; None: beside the report's figures.
    prefix: of the names of files.
  """

  formats: Sequence[str] = ("pdf",)
  width: float = COLUMN
  folder: pathlib.Path | None = None
  prefix: str = ""

  def __post_init__(self):
    wrong = sorted(set(self.formats) - set(FORMATS))
    if wrong or not self.formats or not self.width > 0:
      raise ValueError(
        f"--format, --width: expected some of {', '.join(FORMATS)} and inches above 0, found"
        f" {', '.join(self.formats) or 'none'} and {self.width}"
      )

  def write_figure(
    self, figure: "Figure", folder: pathlib.Path, name: str, caption: str = ""
  ) -> list[pathlib.Path]:
    """Writes a figure into paper/ of a folder, and its caption; returns its files.

    The figure is restyled for good. The caption is in NAME.tex, as LaTeX's figure.
    """
    import matplotlib

    folder, name = self.folder or folder, f"{self.prefix}{name}"
    restyle(figure, self.width)
    files = [_inside(folder) / f"{name}.{end}" for end in self.formats]
    with matplotlib.rc_context(_SETTINGS):
      for file, end in zip(files, self.formats, strict=True):
        date = {"CreationDate": None} if end == "pdf" else {"Date": None} if end == "svg" else {}
        with replacing(file) as temporary:
          figure.savefig(temporary, format=end, dpi=_DOTS, metadata=date)
    write_atomically(_inside(folder) / f"{name}.tex", latex.figure(name, self.width, caption))
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
