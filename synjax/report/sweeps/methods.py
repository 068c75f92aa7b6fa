"""The comparison of methods that a sweep's description asks for, from the rows that are done."""

import collections
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.comparison import Column, Comparison, Entrant, Run, chance_levels, every_task
from synjax.report.sweeps import chosen
from synjax.report.sweeps.entries import field_of, require_alike


def compare(
  asked: Mapping[str, Any],
  declared: Mapping[str, Mapping[str, Any]],
  done: Sequence[Mapping[str, Any]],
) -> Comparison | None:
  """Returns the comparison of the rows that are done; None where they have no scores to compare.

  Args:
    asked: "comparison" of the description, see `synjax.report.sweeps`.
    declared: overrides of every row, by id.
    done: entries of the journal, at least one.

  Raises:
    ValueError: rows of two code versions, or of two states of the data, are seeds of one method.
  """
  row = asked.get("row", "arm")
  choices, same = choices_of(asked, declared, done), by_label(asked, declared, done)
  done = [entry for entries in same.values() for entry in entries]
  planned = collections.defaultdict(set)
  for overrides in declared.values():
    planned[overrides.get(row)].add(overrides.get("seed"))
  for entries in same.values():
    require_alike(entries)
  entrants = [
    Entrant(
      str(label),
      [run_of(entry) for entry in entries],
      len(planned[label]),
      choices[label].count if choices else "",
    )
    for label, entries in same.items()
  ]
  runs = [run_of(entry) for entry in done]
  chances = (entry.get("chance", {}) for entry in done)
  levels = chance_levels(zip(runs, chances, strict=True))
  columns = [_asked(column, levels) for column in asked.get("columns", ())]
  columns = columns or every_task(runs, levels)
  return Comparison(entrants, columns, levels) if columns else None


def choices_of(
  asked: Mapping[str, Any],
  declared: Mapping[str, Mapping[str, Any]],
  done: Sequence[Mapping[str, Any]],
) -> dict[Any, chosen.Choice]:
  """Returns each method's configuration where the description asks to choose one, else {}."""
  return chosen.choose(declared, done, asked.get("row", "arm")) if asked.get("choose") else {}


def by_label(
  asked: Mapping[str, Any],
  declared: Mapping[str, Mapping[str, Any]],
  done: Sequence[Mapping[str, Any]],
) -> dict[Any, list[Mapping[str, Any]]]:
  """Returns method -> the entries that are compared."""
  choices = choices_of(asked, declared, done)
  if choices:
    return {label: list(choice.entries) for label, choice in choices.items()}
  same = collections.defaultdict(list)
  for entry in done:
    same[field_of(entry, asked.get("row", "arm"))].append(entry)
  return dict(same)


def benchmark_of(asked: Mapping[str, Any], done: Sequence[Mapping[str, Any]]) -> Any:
  """Returns what was published on the dataset of a comparison, None where nothing is known."""
  return asked.get("published", {}).get(done[0]["config"]["data"]["name"])


def run_of(entry: Mapping[str, Any]) -> Run:
  """Returns a row that is done as a comparison takes it."""
  data = entry.get("data", {})
  why = (data.get("why") or "not the published data") if data.get("stand_in") else ""
  return Run(field_of(entry, "seed"), entry["config"], entry["best"], why)


def _asked(column: Mapping[str, Any], levels: Mapping[str, float]) -> Column:
  tasks = tuple(column["tasks"])
  known = [levels[task] for task in tasks if task in levels]
  chance = 100 * sum(known) / len(known) if known else None
  kept = {name: column[name] for name in ("metric", "where") if name in column}
  return Column(column["title"], tasks, chance=chance, **kept)
