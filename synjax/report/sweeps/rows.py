"""rows.csv: every row of a sweep with every number, as measured."""

import csv
import io
from typing import Any

from synjax.report.runs import CHECKPOINTS
from synjax.report.sweeps.description import COSTS
from synjax.report.sweeps.sweep import Sweep
from synjax.sweeps.journal import MISSING


def to_csv(sweep: Sweep) -> str:
  """Returns one line a declared row: overrides, status, and every metric as measured."""
  names = list(dict.fromkeys(name for row in sweep.declared.values() for name in row))
  times = ("seconds", "stack_seconds", "stack", *(cost for cost in COSTS if cost != "seconds"))
  selected = ("selection", "best_step", "best_value", "last_value")
  facts = (*times, "group", "instead_of", "code", *selected, "error")
  metrics = [(which, name) for which in CHECKPOINTS for name in sweep.metrics()]
  entries = {entry["id"]: entry for entry in sweep.entries}
  lines = [["id", "status", *names, *facts, *(f"{w}/{name}" for w, name in metrics)]]
  for key, overrides in sweep.declared.items():
    entry = entries.get(key, MISSING)
    cells = [*(overrides.get(name, "") for name in names), *(entry.get(f, "") for f in facts)]
    measured = [entry.get(which, {}).get(name, "") for which, name in metrics]
    lines.append([key, entry["status"], *cells, *measured])
  file = io.StringIO()
  csv.writer(file, lineterminator="\n").writerows([map(_inert, line) for line in lines])
  return file.getvalue()


def _inert(cell: Any) -> Any:
  """Returns a cell that no spreadsheet takes for a formula: texts that look like one get a "'"."""
  if cell is None or isinstance(cell, int | float):
    return cell
  text = str(cell)
  return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
