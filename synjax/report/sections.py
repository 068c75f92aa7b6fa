"""What a report says, as data: a list of sections, which a renderer such as `markdown` turns into text.

Texts may mark `code` and **strong** words; nothing else in them is more than letters.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Heading:
  """A heading; level 1 is the title."""

  text: str
  level: int = 2


@dataclasses.dataclass(frozen=True)
class Text:
  """A paragraph."""

  text: str


@dataclasses.dataclass(frozen=True)
class Points:
  """A list of points, a line each."""

  points: Sequence[str]


@dataclasses.dataclass(frozen=True)
class Code:
  """Lines to type or to read as they are."""

  text: str


@dataclasses.dataclass(frozen=True)
class Table:
  """A table; cells are texts or numbers, as they are shown."""

  header: Sequence[str]
  rows: Sequence[Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Explorer:
  """A table too long to be read: where readers can, they filter its rows, and see them as lines.

  Attributes:
    header: names of the columns.
    rows: texts or numbers, as they are shown.
    axes: names of the columns that are axes of parallel coordinates, the last of which colours the lines.
    filters: names of the columns by whose values rows are chosen.
    file: with all of it, for who can only read.
  """

  header: Sequence[str]
  rows: Sequence[Sequence[Any]]
  axes: Sequence[str]
  filters: Sequence[str]
  file: str


@dataclasses.dataclass(frozen=True)
class Image:
  """A plot.

  Attributes:
    file: name of the PNG, beside the report.
    what: it shows, for those who cannot see it.
    caption: below it; "": none.
    svg: the same, as `svg.inline` makes it; "": there is the PNG alone.
  """

  file: str
  what: str
  caption: str = ""
  svg: str = ""


Section = Heading | Text | Points | Code | Table | Explorer | Image
