"""Sections as Markdown."""

from collections.abc import Iterable

from synjax.report.sections import (
  Code,
  Explorer,
  Heading,
  Image,
  Points,
  Section,
  Table,
  Text,
)


def render(sections: Iterable[Section]) -> str:
  """Returns the Markdown of some sections, without a line break at its end."""
  return "\n\n".join(map(_render, sections))


def _render(section: Section) -> str:
  match section:
    case Heading(text, level):
      return f"{'#' * level} {text}"
    case Text(text):
      return text
    case Points(points):
      return "\n".join(f"* {point}" for point in points)
    case Code(text):
      return f"```\n{text}\n```"
    case Explorer(rows=rows, file=file):
      return f"All {len(rows)} rows: [{file}]({file})."
    case Table(header, rows):
      lines = [header, ["---"] * len(header), *rows]
      return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
    case Image(file, what, caption):
      return f"![{what}]({file})" + (f"\n\n{caption}" if caption else "")
  raise TypeError(f"expected a section, found {type(section).__name__}")


def _cell(cell: object) -> str:
  return str(cell).replace("|", "\\|")
