"""Of every method's configurations in a sweep, the one that validation chooses."""

import collections
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from synjax.report.cells import NOT_AVAILABLE
from synjax.report.sections import Section, Table, Text
from synjax.report.sweeps.entries import SEED_FIELDS, field_of
from synjax.workdir import scores

ABOUT = (
  "Of each method, the configuration with the best mean validation score over its seeds; nothing of the"
  " test split is looked at to choose. Of more configurations the best looks better by chance: compare"
  " methods of equal numbers."
)


class Choice(NamedTuple):
  """The configuration of a method.

  Attributes:
    tried: how many are done.
    planned: how many the sweep has.
    fields: the overrides in which its configurations differ -> value of the chosen one.
    values: validation score of each seed of the chosen one.
    entries: of the chosen one.
  """

  tried: int
  planned: int
  fields: Mapping[str, Any]
  values: Sequence[float]
  entries: Sequence[Mapping[str, Any]]

  @property
  def count(self) -> str:
    """Says how many configurations were tried."""
    return str(self.planned) if self.tried == self.planned else f"{self.tried} of {self.planned}"


def choose(
  declared: Mapping[str, Mapping[str, Any]], done: Sequence[Mapping[str, Any]], row: str = "arm"
) -> dict[Any, Choice]:
  """Chooses for every method, among the configurations whose seeds are all done.

  Where none has all seeds yet, among those with the most.

  Args:
    declared: overrides of every row, by id.
    done: entries of the journal.
    row: the field that names methods.

  Returns:
    method -> its choice; of equal scores the first declared.

  Raises:
    ValueError: rows of a method that are selected by different metrics.
  """
  planned: dict[Any, dict[str, set]] = collections.defaultdict(dict)
  for overrides in declared.values():
    seeds = planned[overrides.get(row)].setdefault(_setting(overrides, row), set())
    seeds.add(overrides.get("seed"))
  found: dict[Any, dict[str, list]] = collections.defaultdict(dict)
  for entry in done:
    own = found[field_of(entry, row)]
    own.setdefault(_setting(entry["overrides"], row), []).append(entry)
  return {
    label: _choose(str(label), planned.get(label, {}), settings, row)
    for label, settings in found.items()
  }


def _setting(overrides: Mapping[str, Any], row: str) -> str:
  kept = {k: v for k, v in overrides.items() if k not in (*SEED_FIELDS, row)}
  return json.dumps(kept, sort_keys=True, default=list)


def _choose(label: str, planned: Mapping[str, set], settings: Mapping[str, list], row) -> Choice:
  order = [name for name in planned if name in settings]
  order += [name for name in settings if name not in planned]
  whole = [n for n in order if {e["overrides"].get("seed") for e in settings[n]} >= planned[n]]
  most = max(len(settings[name]) for name in order)
  eligible = whole or [name for name in order if len(settings[name]) == most]
  rules = {entry.get("select_metric", "") for name in order for entry in settings[name]}
  if len(rules) > 1:
    raise ValueError(
      f"report of methods, {label}: expected configurations that one validation metric selects, found"
      f" {sorted(rules)}; sweep them apart"
    )
  sign = scores.parse_rule(rules.pop())[1]
  means = [sign * _mean([e.get("best_value") for e in settings[name]]) for name in eligible]
  known = [-math.inf if math.isnan(mean) else mean for mean in means]
  best = eligible[int(np.argmax(known))]
  entries = settings[best]
  differing = _differing([json.loads(name) for name in planned or order])
  fields = {name: entries[0]["overrides"].get(name) for name in differing}
  values = [e.get("best_value", math.nan) for e in entries]
  return Choice(len(whole), max(len(planned), 1), fields, values, entries)


def _mean(values: Sequence[float | None]) -> float:
  return float(np.mean([math.nan if value is None else value for value in values]))


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
  names = dict.fromkeys(name for setting in settings for name in setting)
  return [n for n in names if len({json.dumps(setting.get(n)) for setting in settings}) > 1]


def sections(choices: Mapping[Any, Choice]) -> list[Section]:
  """Makes the table of what was chosen."""
  rows = [
    [str(label), choice.count, _fields(choice.fields), _value(choice.values)]
    for label, choice in choices.items()
  ]
  header = ["method", "configurations tried", "chosen", "validation score, mean ± std"]
  return [Text(ABOUT), Table(header, rows)]


def _fields(fields: Mapping[str, Any]) -> str:
  shown = (
    f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}"
    for name, value in fields.items()
  )
  return ", ".join(shown) or "-"


def _value(values: Sequence[float]) -> str:
  values = np.array(values, float)
  if np.isnan(values).any():
    return NOT_AVAILABLE
  spread = f" ± {values.std(ddof=1):.4f}" if len(values) > 1 else ""
  return f"{values.mean():.4f}{spread}"
