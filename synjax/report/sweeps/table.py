"""The table of a sweep's report: a row for what differs, averages over seeds, and how they came about."""

import collections
import dataclasses
import itertools
import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from synjax.report.baselines import Contestant, baseline_sections
from synjax.report.cells import NOT_AVAILABLE
from synjax.report.runs import CHECKPOINTS
from synjax.report.sections import Heading, Section, Table, Text
from synjax.report.sweeps.averages import Score, score
from synjax.report.sweeps.entries import SEED_FIELDS, field_of
from synjax.report.sweeps.sweep import Sweep
from synjax.workdir import scores
from synjax.workdir.files import to_json


def left_out(sweep: Sweep) -> list[Section]:
  """Says how many rows of the folder are not in the report; nothing where all are."""
  if not sweep.others:
    return []
  return [
    Text(
      f"Left out: {sweep.others} rows in this folder that today's sweep file, config and data no longer"
      " give."
    )
  ]


def _overrides_text(overrides: Mapping[str, Any]) -> str:
  return ", ".join(f"{name}={value}" for name, value in overrides.items())


def failed_text(entry: Mapping[str, Any]) -> str:
  """Returns the error of an entry that failed, on one line."""
  return " ".join(entry["error"].split())


def failure_sections(sweep: Sweep) -> list[Section]:
  """Returns the sections on rows that failed, and on rows that are done and failed when tried again."""
  failed = [entry for entry in sweep.entries if entry["status"] == "failed"]
  sections: list[Section] = []
  for title, entries in (
    ("Failed rows", failed),
    ("Later tries that failed, of rows that are done and stay so", sweep.notes),
  ):
    lines = [[e["id"], _overrides_text(e.get("overrides", {})), failed_text(e)] for e in entries]
    table = Table(["id", "overrides", "error"], lines)
    sections += [Heading(title), table] if lines else []
  return sections


def table_fields(sweep: Sweep) -> list[str]:
  """Returns the fields that tell table rows apart."""
  return list(sweep.description.get("table", telling_fields(sweep)))


def telling_fields(sweep: Sweep) -> list[str]:
  """Returns the fields in which rows differ, but for the seed and for what the arm decides."""
  rows = list(sweep.declared.values())
  known = dict.fromkeys(name for row in rows for name in row if name not in SEED_FIELDS)
  values = {name: {json.dumps(row.get(name)) for row in rows} for name in known}
  # What is the same in all says nothing, but for the name of a single configuration.
  names = [name for name in known if len(values[name]) > 1] or list(known)
  if "arm" not in names:
    return names

  def decided(name):
    pairs = {(row.get("arm"), json.dumps(row.get(name))) for row in rows}
    return name != "arm" and len(pairs) == len({arm for arm, _ in pairs})

  return [name for name in names if not decided(name)]


def _scores(sweep: Sweep) -> list[str]:
  """Returns what a table shows by default: what selects, and the same on the test split.

  Where that is not scored, the main test score of each task. All other metrics are in rows.csv.
  """
  known, selected = sweep.metrics(), sweep.selected
  kinds = [scores.kind_of(selected)] if selected else []
  kinds += ["macro_accuracy", "accuracy", "mse"]
  found = [s for s in map(scores.parse, known) if s and s.split == "test"]
  tasks = dict.fromkeys(s.task for s in found if not (s.part or s.modalities))
  wanted = [str(scores.parse(selected)._replace(split="test"))] if selected else []
  for task in () if set(wanted) & set(known) else tasks:
    found = [name for kind in kinds if (name := str(scores.Score("test", task, kind))) in known]
    wanted += found[:1]
  tests = [name for name in dict.fromkeys(wanted) if name in known]
  tests = tests or [name for name in known if not name.endswith(("_low", "_high"))]
  return [selected, *tests] if selected else tests


@dataclasses.dataclass(frozen=True)
class _Column:
  """A metric in the table: field values -> score of each checkpoint, and what stands beside it.

  Attributes:
    metric: its name.
    scores: checkpoint -> field values -> score.
    ends: (checkpoint, "low" or "high") -> field values -> end of the 95 % interval over test examples.
    reference: (field values, checkpoint) -> reference value; {}: the table has none.
    plain: True has a 95 % interval over seeds in place of the standard error.
  """

  metric: str
  scores: Mapping[str, Mapping[tuple, Score]]
  ends: Mapping[tuple[str, str], Mapping[tuple, Score]]
  reference: Mapping[tuple[tuple, str], float | None]
  plain: bool

  def header(self, sweep: Sweep) -> list[str]:
    """Returns what is above the cells."""
    if self.plain:
      return [f"{sweep.label(self.metric)}, mean ± std [95 %]"]
    reference = ["reference"] if self.reference else []
    return [f"{sweep.label(self.metric)}, mean ± std", "s.e.", *reference]

  def cells(self, sweep: Sweep, key: tuple, which: str) -> list[str]:
    """Returns mean and spread, of one run its interval, standard error, and a reference value."""
    found = self.scores[which].get(key, score([]))
    interval = [self.ends[which, end].get(key, score([])).mean for end in ("low", "high")]
    if self.plain:
      interval = interval if found.n == 1 else found.interval
      return _score_cells(sweep, self.metric, found, interval)[:1]
    interval = interval if found.n == 1 else (math.nan, math.nan)
    cells = _score_cells(sweep, self.metric, found, interval)
    if not self.reference:
      return cells
    value = self.reference[key, which]
    return [*cells, "-" if value is None else sweep.text(value, self.metric)]


def _column(
  sweep: Sweep, metric: str, fields: Sequence[str], keys, *, pool: bool, plain: bool
) -> _Column:
  reference = {
    (key, which): sweep.reference(dict(zip(fields, key, strict=True)), metric, which)
    for key in keys
    for which in CHECKPOINTS
  }
  return _Column(
    metric,
    {which: sweep.cells(fields, metric, which, pool=pool) for which in CHECKPOINTS},
    {
      (which, end): sweep.cells(fields, f"{metric}_{end}", which, pool=pool)
      for which in CHECKPOINTS
      for end in ("low", "high")
    },
    reference if any(value is not None for value in reference.values()) else {},
    plain,
  )


def _checkpoints(sweep: Sweep) -> Mapping[str, str]:
  """Returns what is scored -> what it is called: one entry where every row's best step is its last."""
  found = [
    [to_json([entry[which], entry.get(f"{which}_value")]) for which in CHECKPOINTS]
    for entry in sweep.done
  ]
  if all(best == last for best, last in found):
    return {CHECKPOINTS[0]: " = ".join(CHECKPOINTS)}
  return {which: which for which in CHECKPOINTS}


def score_sections(sweep: Sweep) -> list[Section]:
  """Returns the table of a sweep and, before it, what has to be known to read it."""
  fields = table_fields(sweep)
  metrics = list(sweep.description.get("metrics", {})) or _scores(sweep)
  pool = "table" in sweep.description
  done = collections.Counter(tuple(field_of(e, name) for name in fields) for e in sweep.done)
  keys = list(done)
  plain = "metrics" not in sweep.description
  columns = [_column(sweep, metric, fields, keys, pool=pool, plain=plain) for metric in metrics]
  wanted = sweep.description.get("costs", ())
  costs = {cost: sweep.cells(fields, cost, "last", pool=pool) for cost in wanted}
  planned = collections.Counter(
    tuple(row.get(name) for name in fields) for row in sweep.declared.values()
  )
  header = [*fields, "checkpoint", "n"]
  header += [text for column in columns for text in column.header(sweep)]
  lines = []
  for key, which in itertools.product(keys, _checkpoints(sweep)):
    counts = (column.scores[which].get(key, score([])).n for column in columns)
    runs = max(counts, default=done[key])  # without labels nothing is scored
    total = planned.get(key)
    line = [
      *map(_cell, key),
      _checkpoints(sweep)[which],
      f"{runs} of {total}" if total not in (None, runs) else runs,
    ]
    line += [cell for column in columns for cell in column.cells(sweep, key, which)]
    lines.append(line + [_cost(found.get(key, score([])).mean) for found in costs.values()])
  notes = " ".join(_notes(sweep, costs, pool=pool))
  return [Text(notes), Table([*header, *map(sweep.label, costs)], lines)]


def compared(sweep: Sweep) -> list[Section]:
  """Returns the table's rows beside the baselines of their data; nothing where none were scored.

  Where a comparison has the scores, only what it has not.
  """
  if not sweep.description.get("baselines", True):
    return []
  fields, rows = table_fields(sweep), collections.defaultdict(list)
  for entry in sweep.done:
    data = entry.get("reads", {}).get("data", "")
    rows[data, tuple(field_of(entry, name) for name in fields)].append(entry)
  return baseline_sections(
    [
      Contestant(
        ", ".join(f"{name} {_cell(value)}" for name, value in zip(fields, key, strict=True))
        or "all",
        data,
        same[0]["config"],
        same,
        same[0].get("chance", {}),
      )
      for (data, key), same in rows.items()
    ],
    scores_too="comparison" not in sweep.description,
  )


def _notes(sweep: Sweep, costs: Collection[str], *, pool: bool) -> list[str]:
  """Returns what has to be known to read the table."""
  plain = "metrics" not in sweep.description
  third = (
    "95 % interval (Student's t; of one run, over test examples)" if plain else "standard error"
  )
  notes = [
    f"Mean, standard deviation (ddof 1) and {third} over the n runs of a row"
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
  return notes


def _score_cells(sweep: Sweep, metric: str, found: Score, interval: Sequence[float]) -> list[str]:
  """Returns mean and spread of a metric with an interval where its ends are known, and the s.e."""
  if not found.n:
    return [NOT_AVAILABLE, NOT_AVAILABLE]
  spread = "" if math.isnan(found.std) else f" ± {sweep.text(found.std, metric)}"
  cell = f"{sweep.text(found.mean, metric)}{spread}"
  if not any(map(math.isnan, interval)):
    low, high = (sweep.text(value, metric) for value in interval)
    cell += f" [{low}, {high}]"
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
