"""Every row of a sweep in one table that a page filters, and what is best by validation."""

from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.cells import NOT_AVAILABLE, Value
from synjax.report.sections import Explorer, Heading, Section, Table, Text
from synjax.report.sweeps import chosen
from synjax.report.sweeps.entries import SEED_FIELDS
from synjax.report.sweeps.sweep import Sweep
from synjax.report.sweeps.table import failed_text, telling_fields
from synjax.sweeps.journal import MISSING
from synjax.workdir import scores

_MOST_CHARACTERS = 160  # of an error in a cell


def differing_fields(sweep: Sweep) -> list[str]:
  """Returns the overrides that tell rows apart, then those of the seeds that are not the same in all."""
  rows = sweep.declared.values()
  seeds = [name for name in SEED_FIELDS if len({row.get(name) for row in rows}) > 1]
  return [*telling_fields(sweep), *seeds]


def row_sections(sweep: Sweep) -> list[Section]:
  """Returns the table of all rows: what differs, how it stands, its selection and test score."""
  fields, test = differing_fields(sweep), test_metric(sweep)
  selected = [sweep.selected] if sweep.selected else []
  shown = [*selected, *([test] if test else [])]
  labels = [sweep.label(name) for name in shown]
  header = [*fields, "status", *labels, "seconds", "id"]
  entries = {entry["id"]: entry for entry in sweep.entries}
  rows = [
    _row(sweep, key, overrides, entries.get(key, MISSING), fields, shown)
    for key, overrides in sweep.declared.items()
  ]
  axes = [name for name in fields if name not in SEED_FIELDS]
  axes += [*labels[1:], *labels[:1]]  # the last one colours: what selects
  return [Heading("Every row"), Explorer(header, rows, axes, [*fields, "status"], "rows.csv")]


def _row(
  sweep: Sweep,
  key: str,
  overrides: Mapping[str, Any],
  entry: Mapping[str, Any],
  fields: Sequence[str],
  shown: Sequence[str],
) -> list[str]:
  status, best = entry["status"], entry.get("best", {})
  status += f": {failed_text(entry)[:_MOST_CHARACTERS]}" if status == "failed" else ""
  if sweep.selected and sweep.selected not in best and "best_value" in entry:
    best = {**best, sweep.selected: entry["best_value"]}
  cells = [
    str(Value.of([best], name, sweep.factor(name), 1 if sweep.factor(name) == 100 else 4))
    for name in shown
  ]
  seconds = entry.get("seconds")
  return [
    *(_text(overrides.get(name)) for name in fields),
    status,
    *cells,
    NOT_AVAILABLE if seconds is None else f"{seconds:.1f}",
    key,
  ]


def _text(value: Any) -> str:
  if value is None:
    return "-"
  if isinstance(value, float):
    return f"{value:g}"
  return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)


def test_metric(sweep: Sweep) -> str | None:
  """Returns the test score of the kind that selects; None: it was not measured."""
  found = scores.parse(sweep.selected) if sweep.selected else None
  name = str(found._replace(split="test")) if found else ""
  return name if name in sweep.metrics() else None


def best_sections(sweep: Sweep) -> list[Section]:
  """Returns the best configuration by validation of each arm; nothing where none has a choice.

  A sweep whose report compares methods says the same of them there.
  """
  choices = _choices(sweep, "arm")
  if "comparison" in sweep.description or all(c.planned < 2 for c in choices.values()):
    return []
  test = test_metric(sweep)
  rows = [
    [_text(label), choice.count, _setting(sweep, choice), *_values(sweep, choice)]
    for label, choice in choices.items()
  ]
  header = ["arm", "configurations tried", "chosen", sweep.label(sweep.selected)]
  header += [sweep.label(test)] if test else []
  if list(choices) == [None]:
    header, rows = header[1:], [row[1:] for row in rows]
  return [Heading("Best by validation"), Text(chosen.ABOUT), Table(header, rows)]


def summary(sweep: Sweep) -> list[str]:
  """Says which configuration is best by validation, of a sweep that compares no methods."""
  choice = next(iter(_choices(sweep, "").values()), None)
  if choice is None or choice.planned < 2:
    return []
  validation, *test = _values(sweep, choice)
  text = f"Of {choice.count} configurations the best by validation, mean over"
  text += (
    f" {len(choice.values)} seed{'s' * (len(choice.values) > 1)}, is {_setting(sweep, choice)}:"
  )
  text += f" {sweep.label(sweep.selected)} {validation}"
  text += f", {sweep.label(test_metric(sweep))} {test[0]}" if test else ""
  return [
    f"{text}.",
    "The test split was not looked at to choose it; the best of several validation scores is too high by"
    " chance, so that its test score counts.",
  ]


def _choices(sweep: Sweep, row: str) -> Mapping[Any, chosen.Choice]:
  """Returns what validation chooses among rows on equal data; {}: nothing can be chosen."""
  rules = {entry.get("select_metric") for entry in sweep.done}
  rows = sweep.declared.values()
  data = {n for row in rows for n in row if n.split(".")[0] in ("data", "protocol")}
  data = {name for name in data if len({row.get(name) for row in rows}) > 1}
  if not sweep.selected or len(rules) != 1 or data - set(SEED_FIELDS):
    return {}
  return chosen.choose(sweep.declared, sweep.done, row)


def _setting(sweep: Sweep, choice: chosen.Choice) -> str:
  """Returns the fields of a choice that a table has: not those that its arm decides."""
  known = [name for name in choice.fields if name in telling_fields(sweep)]
  return ", ".join(f"{name}={_text(choice.fields[name])}" for name in known) or "-"


def _values(sweep: Sweep, choice: chosen.Choice) -> list[str]:
  """Returns validation score and, where it was measured, test score of a choice."""
  factor, test = sweep.factor(sweep.selected), test_metric(sweep)
  digits = 1 if factor == 100 else 4
  found = [str(Value.of([{"": value} for value in choice.values], "", factor, digits))]
  own = [entry["best"] for entry in choice.entries]
  return found + ([str(Value.of(own, test, factor, digits))] if test else [])
