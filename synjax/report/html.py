"""Sections as one HTML page that needs no other file: sorted tables, figures with values, no network."""

import functools
import json
import os
import pathlib
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from synjax.report.sections import Code, Explorer, Heading, Image, Points, Section, Table, Text

if TYPE_CHECKING:
  from jinja2 import Environment

_FOLDER = pathlib.Path(__file__).parent / "page"
_MARKS = re.compile(r"`([^`]+)`|\*\*(.+?)\*\*")
_KINDS = {
  Heading: "heading",
  Text: "text",
  Points: "points",
  Code: "code",
  Table: "table",
  Explorer: "explorer",
  Image: "image",
}


def render(sections: Iterable[Section], folder: str | pathlib.Path, *, refresh: int = 0) -> str:
  """Returns the page of some sections.

  Args:
    sections: the first heading of level 1 is the title.
    folder: where the page will lie; paths of what is on this machine become links from there.
    refresh: seconds after which a browser loads it again; 0: never.
  """
  sections = list(sections)
  wrong = next((s for s in sections if type(s) not in _KINDS), None)
  if wrong is not None:
    raise TypeError(f"expected a section, found {type(wrong).__name__}")
  headings = [s.text for s in sections if isinstance(s, Heading) and s.level == 2]
  titles = [s.text for s in sections if isinstance(s, Heading) and s.level == 1]
  return (
    _templates()
    .get_template("page.html")
    .render(
      title=(titles or ["Report"])[0],
      sections=[(_KINDS[type(s)], s) for s in sections],
      headings=headings,
      refresh=refresh,
      style=(_FOLDER / "page.css").read_text(),
      script=(_FOLDER / "page.js").read_text(),
      inline=functools.partial(_inline, folder=pathlib.Path(folder)),
      anchor=_anchor,
      least=_least,
      numbers=_numbers,
    )
  )


@functools.cache
def _templates() -> "Environment":
  import jinja2  # takes a tenth of a second, and not every command writes a page

  return jinja2.Environment(
    loader=jinja2.FileSystemLoader(_FOLDER),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=jinja2.StrictUndefined,
  )


def _inline(text: object, folder: pathlib.Path):
  """Returns a text with its `code` and **strong** words; a path of this machine is a link."""
  from markupsafe import Markup, escape

  parts, end = [], 0
  text = str(text)
  for match in _MARKS.finditer(text):
    parts += [escape(text[end : match.start()]), _marked(match, folder)]
    end = match.end()
  return Markup("").join([*parts, escape(text[end:])])


def _marked(match: re.Match, folder: pathlib.Path):
  from markupsafe import Markup

  code, strong = match.groups()
  if strong is not None:
    return Markup("<strong>{}</strong>").format(strong)
  shown = Markup("<code>{}</code>").format(code)
  if not (os.path.isabs(code) and os.path.exists(code)):
    return shown
  href = pathlib.PurePath(os.path.relpath(code, folder)).as_posix()
  return Markup('<a href="{}">{}</a>').format(href, shown)


def _anchor(text: str) -> str:
  """Returns what a heading is called in an address."""
  return re.sub(r"\W+", "-", text.lower()).strip("-")


def _least(head: str) -> int:
  """Returns how many characters wide a column is at least: no head has more than a few lines."""
  return min(len(head) // 2 + 3, 16)


def _numbers(explorer: Explorer, columns: Sequence[str]) -> str:
  """Returns the numbers of some columns as a list of JSON."""
  return json.dumps([list(explorer.header).index(name) for name in columns])
