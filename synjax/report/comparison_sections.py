"""The table of a comparison as papers have it, and the differences to its best method."""

import csv
import io
import math
from collections.abc import Sequence
from typing import NamedTuple

from synjax.report import degenerate
from synjax.report.baselines import Value
from synjax.report.cells import NOT_AVAILABLE
from synjax.report.comparable import columns_of, differences, read_field
from synjax.report.comparison import Column, Comparison, Entrant, Line, t_interval
from synjax.report.sections import Heading, Points, Section, Table, Text

ABOUT = (
  "Scores on the test split of the selected parameters: mean ± std (ddof 1) over seeds and, in"
  " brackets, the 95 % interval: Student's t over seeds; of one seed, and of what is the same for all,"
  " the one over test examples. Intervals over seeds say nothing about other test examples. **Bold**:"
  " the best of a column, where its interval overlaps none of the others', baselines included. The best"
  " is sought on equal seeds: a method without all of them is named below and is not the best."
)
PAIRED = (
  "Each method minus the best method of the column, seed by seed (equal seeds share data, splits and"
  " order): mean, 95 % interval (Student's t over the pairs), and in brackets the number of pairs. The"
  " best is sought on equal seeds and is the best of these very numbers, and no interval is widened for"
  " the number of methods."
)


class Published(NamedTuple):
  """A published number of a cell: (mean, std or None) where it may be compared, else why it may not."""

  value: tuple[float, float | None] | None
  why_not: str = ""


def comparison_sections(comparison: Comparison, benchmark=None) -> list[Section]:
  """Makes the table, paired differences and notes on published numbers.

  Args:
    comparison: of methods on one dataset.
    benchmark: of the dataset, a `configs.published.Benchmark`; None: nothing was published.
  """
  beside = published_cells(comparison, benchmark)
  table = _table(comparison, beside)
  sections: list[Section] = [Text(ABOUT), table]
  if any(degenerate.is_marked(cell) for row in table.rows for cell in row):
    sections.append(Text(degenerate.ABOUT))
  paired = paired_sections(comparison)
  points = _notes(comparison, beside, benchmark)
  points += [] if paired else seed_notes(comparison)
  sections += [Points(points)] if points else []
  return [*sections, Heading("Paired by seed"), *paired] if paired else sections


def paired_sections(comparison: Comparison) -> list[Section]:
  """Makes the table of differences to the best method; nothing where none shares two seeds with it."""
  pairs = [
    len(comparison.paired(line, i))
    for i in range(len(comparison.columns))
    for line in _methods(comparison)
    if line is not comparison.best(i, trained=True)
  ]
  if max(pairs, default=0) < 2:
    return []
  return [Text(PAIRED), _paired_table(comparison), Points(seed_notes(comparison))]


def seed_notes(comparison: Comparison) -> list[str]:
  """Says of every column on which seeds its best method is sought, and which methods lack some."""
  found: dict[str, list[str]] = {}
  for i, column in enumerate(comparison.columns):
    scored = [line for line in _methods(comparison) if line.values[i]]
    if len(scored) > 1:
      found.setdefault(_compared(comparison, scored, i), []).append(column.title)
  if len(found) == 1:
    return list(found)
  return [f"{', '.join(titles)}: {text}" for text, titles in found.items()]


def _compared(comparison: Comparison, scored: Sequence[Line], i: int) -> str:
  own = comparison.compared(i)
  seeds = comparison.seeds(i)
  without = [f"{line.label} (has {_list(line.values[i])})" for line in scored if line not in own]
  if not own:
    return f"No method is the best: they share fewer than two seeds: {', '.join(without)}."
  start = f"The best is sought on seed{'s' * (len(seeds) > 1)} {_list(seeds)}"
  if not without:
    return f"{start}, of all methods."
  return f"{start}, of {', '.join(line.label for line in own)}; not of {', '.join(without)}."


def _list(seeds) -> str:
  """Writes seeds, three or more in a row as a range."""
  runs: list[list[int]] = []
  for seed in sorted(seeds):
    if runs and seed == runs[-1][-1] + 1:
      runs[-1].append(seed)
    else:
      runs.append([seed])
  parts = [f"{r[0]} to {r[-1]}" if len(r) > 2 else ", ".join(map(str, r)) for r in runs]
  return ", ".join(parts)


def published_cells(comparison: Comparison, benchmark) -> dict[tuple[int, int], Published]:
  """Returns (row, column) of methods -> published number, of those that there are."""
  cells = {}
  for row, entrant in enumerate(comparison.entrants) if benchmark else ():
    for i, column in enumerate(comparison.columns):
      seeds = len(comparison.lines[row].values[i])
      found = _published(benchmark, entrant, column, seeds, comparison.tasks) if seeds else None
      if found:
        cells[row, i] = found
  return cells


def _published(benchmark, entrant: Entrant, column: Column, seeds: int, tasks) -> Published | None:
  """Returns the published number of a method's column, None without one."""
  run = next(run for run in entrant.runs if column.reads(run, tasks))
  read = lambda name: seeds if name == "num_seeds" else read_field(run.config, name)  # noqa: E731
  printed = benchmark.rows.get(entrant.label, benchmark.rows.get(entrant.method, {}))
  for name, known in columns_of(benchmark, read).items():
    same = (known.tasks, known.metric) == (column.tasks, _metric(column))
    if same and known.error == (column.sign < 0) and name in printed:
      why = [run.stand_in] if run.stand_in else []
      why = why or differences(benchmark, [known], entrant.method, read)
      return Published(None, ", ".join(why)) if why else Published(printed[name])
  return None


def _metric(column: Column) -> str:
  return "macro_accuracy" if column.metric == "mse" else column.metric


def _methods(comparison: Comparison) -> list[Line]:
  return [line for line in comparison.lines if line.kind == "method"]


def _table(comparison: Comparison, beside) -> Table:
  published = {i for (_, i), found in beside.items() if found.value}
  tried = [entrant.tried for entrant in comparison.entrants]
  header = ["method", "seeds"] + ["configurations"] * any(tried)
  for i, column in enumerate(comparison.columns):
    header += [column.title] + ["published"] * (i in published)
  bold = [comparison.clearly_best(i) for i in range(len(comparison.columns))]
  rows = []
  for row, line in enumerate(comparison.lines):
    counts = [len(values) for values in line.values]
    cells = [line.label, _seeds(comparison, row, max(counts))]
    cells += [tried[row] if row < len(tried) else "-"] * any(tried)
    for i, column in enumerate(comparison.columns):
      text = _cell(comparison.value(line, i), strong=line is bold[i]) + comparison.mark(line, i)
      fewer = line.kind in ("method", "untrained") and 0 < counts[i] < max(counts)
      cells.append(text + f" ({counts[i]} seeds)" * fewer)
      if i in published:
        cells.append(_printed(beside.get((row, i)), column.digits))
    rows.append(cells)
  return Table(header, rows)


def _seeds(comparison: Comparison, row: int, count: int) -> str:
  line = comparison.lines[row]
  if line.kind != "method":
    return str(count) if line.kind == "untrained" else "-"
  planned = comparison.entrants[row].planned
  return str(count) if count == planned else f"{count} of {planned}"


def _cell(value: Value, *, strong: bool) -> str:
  return f"**{value}**" if strong else str(value)


def _printed(found: Published | None, digits: int) -> str:
  if found is None or found.value is None:
    return "-"
  mean, std = found.value
  return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def _notes(comparison: Comparison, beside, benchmark) -> list[str]:
  """Says where published numbers are from, and why some are not there."""
  notes = []
  if any(found.value for found in beside.values()):
    notes.append(f"Published: {benchmark.source}.")
  missing: dict[str, dict[str, None]] = {}
  for (row, _), found in beside.items():
    if found.why_not:
      missing.setdefault(found.why_not, {})[comparison.lines[row].label] = None
  return notes + [
    f"The published numbers of {', '.join(labels)} are of another experiment, not to be compared: {why}."
    for why, labels in missing.items()
  ]


def _paired_table(comparison: Comparison) -> Table:
  rows = [
    [line.label, *(_difference(comparison, line, i) for i in range(len(comparison.columns)))]
    for line in _methods(comparison)
  ]
  return Table(["method", *(column.title for column in comparison.columns)], rows)


def _difference(comparison: Comparison, line: Line, i: int) -> str:
  if line is comparison.best(i, trained=True):
    scored = [other for other in _methods(comparison) if other.values[i]]
    return "best" if len(comparison.compared(i)) == len(scored) else "reference"
  found = comparison.paired(line, i)
  if not len(found):
    return NOT_AVAILABLE
  digits = comparison.columns[i].digits
  low, high = t_interval(found)
  ends = "" if math.isnan(low) else f" [{low:+.{digits}f}, {high:+.{digits}f}]"
  return f"{found.mean():+.{digits}f}{ends} ({len(found)})"


def to_csv(comparison: Comparison, benchmark=None) -> str:
  """Returns a line for each cell of the table, with all digits; what is not known is empty."""
  beside = published_cells(comparison, benchmark)
  header = ["method", "kind", "score", "seeds", "mean", "std", "low", "high", "clearly_best"]
  header += ["published_mean", "published_std"]
  header += [f"difference{end}" for end in ("", "_low", "_high", "_pairs")]
  lines: list[Sequence] = [header]
  for row, line in enumerate(comparison.lines):
    for i, column in enumerate(comparison.columns):
      if not line.values[i]:
        continue
      value, found = comparison.value(line, i), beside.get((row, i))
      printed = found.value if found and found.value else (None, None)
      pairs = comparison.paired(line, i) if line.kind == "method" else []
      differs = (pairs.mean(), *t_interval(pairs), len(pairs)) if len(pairs) else (None,) * 4
      numbers = [value.mean, value.std, value.low, value.high]
      seeds = None if None in line.values[i] else len(line.values[i])
      cells = [line.label, line.kind, column.title, seeds, *numbers]
      cells += [line is comparison.clearly_best(i), *printed, *differs]
      lines.append(["" if _unknown(cell) else cell for cell in cells])
  file = io.StringIO()
  csv.writer(file, lineterminator="\n").writerows(lines)
  return file.getvalue()


def _unknown(cell) -> bool:
  return cell is None or (isinstance(cell, float) and math.isnan(cell))
