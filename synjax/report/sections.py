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
class Table:
  """A table; cells are texts or numbers, as they are shown."""

  header: Sequence[str]
  rows: Sequence[Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Image:
  """A plot.

  Attributes:
    file: name of the PNG, beside the report.
    what: it shows, for those who cannot see it.
    caption: below it; "": none.
  """

  file: str
  what: str
  caption: str = ""


Section = Heading | Text | Points | Table | Image
