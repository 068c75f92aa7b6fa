"""The table of a comparison for a paper: LaTeX with booktabs."""

import math
from collections.abc import Sequence

from synjax.report.comparison import Comparison, Line
from synjax.report.names import shown_labels

_DAGGER = r"$^\dagger$"
_SPECIAL = {char: f"\\{char}" for char in "&%$#_{}"} | {
  "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
}  # fmt: skip


def table(comparison: Comparison) -> str:
  """Returns a tabular: methods, then baselines; mean, deviation over seeds, 95 % interval small below.

  Bold: the best of a column where its interval overlaps none of the others', as in the report's table. A
  dagger: `Comparison.mark`.
  """
  columns = range(len(comparison.columns))
  best = [comparison.clearly_best(i) for i in columns]
  titles = ["method", *(column.title for column in comparison.columns)]
  kinds = [line.kind == "method" for line in comparison.lines]
  rows = [_row([escape(title) for title in titles]), r"\midrule"]
  labels = shown_labels([line.label for line in comparison.lines])
  for k, line in enumerate(comparison.lines):
    rows += [r"\midrule"] if k and kinds[k - 1] and not kinds[k] else []
    cells = [_cell(comparison, line, i, strong=line is best[i]) for i in columns]
    rows.append(_row([escape(labels[k]), *cells]))
  lines = [rf"\begin{{tabular}}{{l{'r' * len(columns)}}}", r"\toprule", *rows, r"\bottomrule"]
  if any(_DAGGER in row for row in rows):
    note = (
      rf"\footnotesize {_DAGGER} no prediction: one class, or one error, for every test example"
    )
    lines.append(_row([rf"\multicolumn{{{len(columns) + 1}}}{{l}}{{{note}}}"]))
  return "\n".join([*lines, r"\end{tabular}"]) + "\n"


def figure(name: str, width: float, caption: str) -> str:
  """Returns a figure of a file, `width` inches wide, above its caption."""
  shown = rf"\includegraphics[width={width:g}in]{{{name}}}"
  lines = [r"\begin{figure}", r"\centering", shown, rf"\caption{{{escape(caption)}}}"]
  return "\n".join([*lines, r"\end{figure}"]) + "\n"


def escape(text: str) -> str:
  """Returns a text with what LaTeX would read as commands as letters."""
  return "".join(_SPECIAL.get(char, char) for char in text)


def _row(cells: Sequence[str]) -> str:
  return f"{' & '.join(cells)} \\\\"


def _cell(comparison: Comparison, line: Line, i: int, *, strong: bool) -> str:
  value = comparison.value(line, i)
  if math.isnan(value.mean):
    return "--"
  digits = value.digits
  mean = f"{value.mean:.{digits}f}"
  mean = rf"\mathbf{{{mean}}}" if strong else mean
  spread = "" if math.isnan(value.std) else rf" \pm {value.std:.{digits}f}"
  ends = rf"\;{{\scriptstyle[{value.low:.{digits}f}, {value.high:.{digits}f}]}}"
  mark = _DAGGER if comparison.mark(line, i) else ""
  return f"${mean}{spread}{ends if value.high > value.low else ''}${mark}"
