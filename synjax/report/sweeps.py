"""Reports of sweeps: the journal in; rows.csv, table.md and plots out, finished or not.

The description of a report is plain data, as a sweep file's `get_report()` returns it:

    {"title": "Spurious XOR",
     "metrics": {"test/accuracy": "accuracy (%)"},    # metric -> label; the table's columns
     "percent": True,                                 # metrics are fractions, shown in %; default
     "table": ["arm", "data.strength"],               # fields of a table row, runs that differ in others
                                                      # are averaged; default: all but the seed
     "reference": [{"where": {"arm": "oracle"}, "values": {"test/accuracy": 0.99}, "source": "...",
                    "which": "last"}],                # checkpoint it is of; default: "best"
     "plots": [{"name": "curve", "kind": "curve", "x": "data.strength", "line": "arm",
                "metric": "test/accuracy", "chance": 0.5},
               {"name": "simplex", "kind": "simplex", "fields": [three mixture fields], "panel": "arm",
                "labels": [three names], "metric": "test/accuracy", "range": [0.5, 1]},
               {"name": "bars", "kind": "bars", "x": "arm", "metrics": [...], "chance": 0.5},
               {"name": "k", "kind": "ablation", "x": "method.num_views", "metrics": [...],
                "costs": ["seconds_per_step"], "log2": True}]}

Every plot also takes "which" ("best", the default, or "last"), "where" (field -> value: only these
runs), "xlabel" and "title". "<task>" in the metrics of the table, of bars and of ablations stands for
every task that was scored; "chance": "measured" draws the chance levels of these tasks. "costs" (time
and memory of a step, `sweep_runs.COSTS`) are columns of the table and panels of an ablation.
"""

import csv
import functools
import io
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.runs import CHECKPOINTS
from synjax.report.sweep_plots import PLOTS, title_of
from synjax.report.sweep_runs import COSTS, SEED_FIELDS, Sweep, field_of, score
from synjax.report.tables import NOT_AVAILABLE, format_table
from synjax.sweep import Row, group_id
from synjax.sweep_file import describe
from synjax.sweep_journal import MISSING, read_journal
from synjax.workdir.files import write_atomically


def write_sweep_report(folder: str | pathlib.Path, description: Mapping[str, Any]) -> pathlib.Path:
  """Writes rows.csv, table.md and the plots of a sweep, finished or still running.

  Args:
    folder: of the sweep.
    description: see this module; {}: all metrics, no plots.

  Returns:
    Path of table.md.

  Raises:
    ValueError: no sweep in the folder; a description that does not fit it.
  """
  folder = pathlib.Path(folder).expanduser().absolute()
  sweep = Sweep(folder, description)
  write_atomically(folder / "rows.csv", _csv(sweep))
  sections = [f"# {description.get('title', 'Sweep')}", f"{sweep.state}."]
  if sweep.others:
    sections.append(
      f"Left out: {sweep.others} rows in this folder that the sweep file no longer has."
    )
  if sweep.done:
    sections.append(_table(sweep))
  for plot in sweep.description["plots"]:
    figure = PLOTS[plot["kind"]](sweep, plot)
    if figure is None:
      sections.append(f"No values (yet) for the plot {plot['name']}.")
      continue
    name = f"{plot['name']}.png"
    temporary = folder / f"{name}.{os.getpid()}.tmp"
    figure.savefig(temporary, format="png")
    os.replace(temporary, folder / name)
    sections.append(f"![{title_of(sweep, plot)}]({name})")
  failed = [entry for entry in sweep.entries if entry["status"] == "failed"]
  if failed:
    lines = [
      [e["id"], _overrides_text(e["overrides"]), " ".join(e["error"].split())] for e in failed
    ]
    sections += ["## Failed rows", format_table(["id", "overrides", "error"], lines)]
  write_atomically(folder / "table.md", "\n\n".join(sections) + "\n")
  return folder / "table.md"


def _overrides_text(overrides: Mapping[str, Any]) -> str:
  return ", ".join(f"{name}={value}" for name, value in overrides.items())


def _csv(sweep: Sweep) -> str:
  """Returns one line a declared row: overrides, status, and every metric as measured."""
  names = list(dict.fromkeys(name for row in sweep.declared.values() for name in row))
  times = ("seconds", "stack_seconds", "stack", *COSTS)
  facts = (*times, "group", "code", "best_step", "best_value", "error")
  metrics = [(which, name) for which in CHECKPOINTS for name in sweep.metrics()]
  entries = {entry["id"]: entry for entry in sweep.entries}
  file = io.StringIO()
  writer = csv.writer(file, lineterminator="\n")
  writer.writerow(["id", "status", *names, *facts, *(f"{w}/{name}" for w, name in metrics)])
  for key, overrides in sweep.declared.items():
    entry = entries.get(key, {"status": "missing"})
    cells = [*(overrides.get(name, "") for name in names), *(entry.get(f, "") for f in facts)]
    measured = [entry.get(which, {}).get(name, "") for which, name in metrics]
    writer.writerow([key, entry["status"], *cells, *measured])
  return file.getvalue()


def _table_fields(sweep: Sweep) -> list[str]:
  """Returns the fields that tell table rows apart, without those that the arm decides."""
  if "table" in sweep.description:
    return list(sweep.description["table"])
  rows = list(sweep.declared.values())
  names = dict.fromkeys(name for row in rows for name in row if name not in SEED_FIELDS)
  if "arm" not in names:
    return list(names)

  def decided(name):
    pairs = {(row.get("arm"), json.dumps(row.get(name))) for row in rows}
    return name != "arm" and len(pairs) == len({arm for arm, _ in pairs})

  return [name for name in names if not decided(name)]


def _scores(sweep: Sweep) -> list[str]:
  """Returns what a table shows by default: what selects, and the test score of each task.

  All other metrics are in rows.csv.
  """
  selects = {entry["config"].get("select_metric", "").lstrip("-") for entry in sweep.done}
  main = ("macro_accuracy", "accuracy", "mse")
  tasks = dict.fromkeys(n.split("/")[1] for n in sweep.metrics() if n.count("/") == 2)
  tests = [[f"test/{task}/{name}" for name in main] for task in tasks]
  shown = [next((n for n in names if n in sweep.metrics()), None) for names in tests]
  found = [name for name in [*sorted(selects), *shown] if name in sweep.metrics()]
  return list(dict.fromkeys(found)) or [
    name for name in sweep.metrics() if not name.endswith(("_low", "_high"))
  ]


def _table(sweep: Sweep) -> str:
  """Returns the table and what has to be known to read it."""
  fields = _table_fields(sweep)
  metrics = list(sweep.description.get("metrics", {})) or _scores(sweep)
  pool = "table" in sweep.description
  scores = {
    (metric, which): sweep.cells(fields, metric, which, pool=pool)
    for metric in metrics
    for which in CHECKPOINTS
  }
  planned: dict[tuple, int] = {}
  for row in sweep.declared.values():
    key = tuple(row.get(name) for name in fields)
    planned[key] = planned.get(key, 0) + 1
  keys = list(dict.fromkeys(tuple(field_of(e, name) for name in fields) for e in sweep.done))
  known = {
    (key, metric, which): sweep.reference(dict(zip(fields, key, strict=True)), metric, which)
    for key in keys
    for metric in metrics
    for which in CHECKPOINTS
  }
  costs = {
    cost: sweep.cells(fields, cost, "last", pool=pool)
    for cost in sweep.description.get("costs", ())
  }
  shown = {metric for (_, metric, _), value in known.items() if value is not None}
  header = [*fields, "checkpoint", "n"]
  for metric in metrics:
    header += [f"{sweep.label(metric)}, mean ± std", "s.e."]
    header += ["reference"] if metric in shown else []
  header += map(sweep.label, costs)
  lines = []
  for key in keys:
    for which in CHECKPOINTS:
      found = [scores[metric, which].get(key, score([])) for metric in metrics]
      runs, total = max(s.n for s in found), planned.get(key)
      line = [*map(_cell, key), which, f"{runs} of {total}" if total not in (None, runs) else runs]
      for metric, s in zip(metrics, found, strict=True):
        value = known[key, metric, which]
        text = functools.partial(sweep.text, metric=metric)
        line += [f"{text(s.mean)} ± {text(s.std)}", text(s.error, 2)]
        line += ["-" if value is None else text(value)] if metric in shown else []
      lines.append(line + [_cost(found.get(key, score([])).mean) for found in costs.values()])
  notes = [
    "Mean, standard deviation (ddof 1) and standard error over the n runs of a row"
    + (
      " (seeds, and all values of fields that are not columns)." if pool else ", which are seeds."
    ),
    '"best": the step selected on validation data; "last": the last step.',
  ]
  if costs:
    stacks = sorted({entry.get("stack", 1) for entry in sweep.done})
    together = f"{stacks[0]}" if len(stacks) == 1 else f"{stacks[0]} to {stacks[-1]}"
    notes.append(
      f"Time and memory of a step are those of the runs trained together ({together} in one program),"
      " without compilation and evaluation; memory is what XLA needs for a step on a device, beside"
      " parameters, optimizer and data."
    )
  sources = dict.fromkeys(r["source"] for r in sweep.description.get("reference", ()))
  notes += [f"Reference: {source}." for source in sources]
  return " ".join(notes) + "\n\n" + format_table(header, lines)


def _cost(value: float) -> str:
  return NOT_AVAILABLE if math.isnan(value) else f"{value:.4g}"


def _cell(value: Any) -> str:
  return "-" if value is None else str(value)


def list_rows(groups: Sequence[list[Row]], folder: str | pathlib.Path) -> str:
  """Returns a Markdown table of all rows: id, status in the sweep's folder, group and overrides."""
  entries = read_journal(pathlib.Path(folder).expanduser())
  return format_table(
    ["id", "status", "group", "overrides"],
    [
      [row.id, entries.get(row.id, MISSING)["status"], name, describe(row.overrides)]
      for name, rows in (
        (group_id(rows[0].program, [row.trial for row in rows]), rows) for rows in groups
      )
      for row in rows
    ],
  )
