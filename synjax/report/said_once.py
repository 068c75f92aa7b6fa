"""Tables without what is the same in all their rows, which is said in a sentence."""

from collections.abc import Collection, Sequence

from synjax.report import degenerate
from synjax.report.sections import Points, Section, Table, Text


def sections(
  header: Sequence[str], rows: Sequence[Sequence[str]], among: Collection[str]
) -> list[Section]:
  """Returns what is the same in all rows, a table of what is left, and what marks in it mean.

  Args:
    header: names of the columns, the first of which tells rows apart and stays.
    rows: at least one.
    among: names of the columns that may be left out.
  """
  same = [
    i for i, name in enumerate(header) if name in among and len({row[i] for row in rows}) == 1
  ]
  left = [i for i in range(len(header)) if i not in same]
  words = [f"{header[i]} {rows[0][i]}" for i in same]
  found: list[Section] = [Text(f"Of all rows: {'; '.join(words)}.")] if words else []
  found.append(Table([header[i] for i in left], [[row[i] for i in left] for row in rows]))
  marked = any(degenerate.is_marked(cell) for row in rows for cell in row)
  return [*found, Text(degenerate.ABOUT)] if marked else found


def facts(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[Section]:
  """Returns facts of runs as a list, and a table of those that differ between them."""
  same = [i for i in range(1, len(header)) if len({row[i] for row in rows}) == 1]
  left = [i for i in range(len(header)) if i not in same]
  points = Points([f"{header[i]}: {rows[0][i]}" for i in same])
  if len(left) == 1:
    return [points]
  table = Table([header[i] for i in left], [[row[i] for i in left] for row in rows])
  return [points, table] if same else [table]
