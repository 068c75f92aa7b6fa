"""Reports of sweeps: the journal in; rows.csv, table.md and plots out, finished or not.

The description of a report is plain data, as a sweep file's `get_report()` returns it:

    {"title": "Spurious XOR",
     "metrics": {"test/accuracy": "accuracy (%)"},    # metric -> label; the table's columns
     "percent": True,                                 # show those that are fractions in %; default
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
of a run, time and memory of a step, `sweep_runs.COSTS`) are columns of the table and panels of an
ablation.
"""

import collections
import csv
import io
import json
import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.runs import CHECKPOINTS
from synjax.report.sweep_plots import PLOTS, title_of
from synjax.report.sweep_runs import COSTS, SEED_FIELDS, Score, Sweep, field_of, score
from synjax.report.tables import NOT_AVAILABLE, format_table
from synjax.sweeps.file import describe
from synjax.sweeps.journal import MISSING, read_journal
from synjax.sweeps.plan import Row, group_id
from synjax.workdir import scores
from synjax.workdir.files import write_atomically


def write_sweep_report(folder: str | pathlib.Path, description: Mapping[str, Any]) -> pathlib.Path:
  """Writes rows.csv, table.md and the plots of a sweep, finished or still running.

  Args:
    folder: of the sweep.
    description: see this module; {}: the metric that selects and the test scores, no plots.

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
      f"Left out: {sweep.others} rows in this folder that today's sweep file, config and data no longer"
      " give."
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
  sections += _failures(sweep)
  write_atomically(folder / "table.md", "\n\n".join(sections) + "\n")
  return folder / "table.md"


def _overrides_text(overrides: Mapping[str, Any]) -> str:
  return ", ".join(f"{name}={value}" for name, value in overrides.items())


def _failures(sweep: Sweep) -> list[str]:
  """Returns the sections on rows that failed, and on rows that are done and failed when tried again."""
  failed = [entry for entry in sweep.entries if entry["status"] == "failed"]
  sections = []
  for title, entries in (
    ("## Failed rows", failed),
    ("## Later tries that failed, of rows that are done and stay so", sweep.notes),
  ):
    lines = [
      [e["id"], _overrides_text(e.get("overrides", {})), " ".join(e["error"].split())]
      for e in entries
    ]
    sections += [title, format_table(["id", "overrides", "error"], lines)] if lines else []
  return sections


def _csv(sweep: Sweep) -> str:
  """Returns one line a declared row: overrides, status, and every metric as measured."""
  names = list(dict.fromkeys(name for row in sweep.declared.values() for name in row))
  times = ("seconds", "stack_seconds", "stack", *(cost for cost in COSTS if cost != "seconds"))
  facts = (*times, "group", "instead_of", "code", "selection", "best_step", "best_value", "error")
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
  """Returns what a table shows by default: what selects, and the main test score of each task.

  All other metrics are in rows.csv.
  """
  known, selected = sweep.metrics(), sweep.selected
  kinds = [scores.kind_of(selected)] if selected else []
  kinds += ["macro_accuracy", "accuracy", "mse"]
  found = [s for s in map(scores.parse, known) if s and s.split == "test"]
  tasks = dict.fromkeys(s.task for s in found if not (s.part or s.modalities))
  wanted = [str(scores.parse(selected)._replace(split="test"))] if selected else []
  for task in tasks:
    found = [name for kind in kinds if (name := str(scores.Score("test", task, kind))) in known]
    wanted += found[:1]
  tests = [name for name in dict.fromkeys(wanted) if name in known]
  tests = tests or [name for name in known if not name.endswith(("_low", "_high"))]
  return [selected, *tests] if selected else tests


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
  ends = {
    (metric, which, end): sweep.cells(fields, f"{metric}_{end}", which, pool=pool)
    for metric in metrics
    for which in CHECKPOINTS
    for end in ("low", "high")
  }
  wanted = sweep.description.get("costs", () if "metrics" in sweep.description else ("seconds",))
  costs = {cost: sweep.cells(fields, cost, "last", pool=pool) for cost in wanted}
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
        interval = [ends[metric, which, end].get(key, score([])).mean for end in ("low", "high")]
        line += _score_cells(sweep, metric, s, interval)
        line += ["-" if value is None else sweep.text(value, metric)] if metric in shown else []
      lines.append(line + [_cost(found.get(key, score([])).mean) for found in costs.values()])
  notes = [
    "Mean, standard deviation (ddof 1) and standard error over the n runs of a row"
    + (
      " (seeds, and all values of fields that are not columns)." if pool else ", which are seeds."
    ),
    '"best": the step selected on validation data; "last": the last step.',
    *_provenance(sweep),
  ]
  if "seconds" in costs:
    notes.append("Seconds: a run's share of its stack's, compilation and evaluation included.")
  if {"seconds_per_step", "program_bytes"} & set(costs):
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


def _score_cells(sweep: Sweep, metric: str, found: Score, interval: Sequence[float]) -> list[str]:
  """Returns mean and spread of a metric, of one run its 95 % interval over test examples, and the s.e."""
  if not found.n:
    return [NOT_AVAILABLE, NOT_AVAILABLE]
  cell = f"{sweep.text(found.mean, metric)} ± {sweep.text(found.std, metric)}"
  if found.n == 1 and not any(map(math.isnan, interval)):
    low, high = (sweep.text(value, metric) for value in interval)
    cell += f" (95 % {low} to {high})"
  return [cell, sweep.text(found.error, metric, 2)]


def _provenance(sweep: Sweep) -> list[str]:
  """Says by which code, rule and packages the rows came to be, and which were trained otherwise."""
  notes = []
  for what, name in (("Code", "code"), ("Selection", "selection"), ("Hardware", "hardware")):
    counts = collections.Counter(entry[name] for entry in sweep.done if name in entry)
    notes += [f"{what}: {_counted(counts)}."] if counts else []
  packages = {name for entry in sweep.done for name in entry.get("versions", {})}
  for name in sorted(packages):
    counts = collections.Counter(e["versions"][name] for e in sweep.done if "versions" in e)
    notes += [f"Versions of {name}: {_counted(counts)}."] if len(counts) > 1 else []
  stand_ins = {entry["data"]["why"] for entry in sweep.done if entry.get("data", {}).get("why")}
  notes += [f"NOT the published data: {why}." for why in sorted(stand_ins)]
  alone = [entry["id"] for entry in sweep.done if "instead_of" in entry]
  if alone:
    notes.append(
      f"Trained alone, after a row of their stack had diverged or the stack was lost, and so by another"
      f" program than the others: {', '.join(alone)}."
    )
  return notes


def _counted(counts: Mapping[str, int]) -> str:
  """Lists values; how often, where there are several."""
  if len(counts) == 1:
    return next(iter(counts))
  return ", ".join(f"{value} ({count} rows)" for value, count in counts.items())


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
