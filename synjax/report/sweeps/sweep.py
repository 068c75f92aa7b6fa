"""Reads the rows of a sweep from its folder, and averages them over seeds."""

import functools
import math
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synjax.report.cells import NOT_AVAILABLE
from synjax.report.comparison import Comparison
from synjax.report.runs import CHECKPOINTS
from synjax.report.sweeps import methods
from synjax.report.sweeps.averages import Score, score
from synjax.report.sweeps.description import COSTS, check, expand_tasks
from synjax.report.sweeps.entries import SEED_FIELDS, field_of, hashable, require_alike
from synjax.report.units import is_fraction
from synjax.sweeps.journal import read_declared, read_journal
from synjax.workdir import scores
from synjax.workdir.files import SWEEP


class Sweep:
  """The rows of a sweep as its folder has them now, and how to read them.

  Attributes:
    folder: of the sweep.
    declared: the overrides of every row, by id.
    entries: the latest journal entry of every declared row that has one, in the order declared.
    done: the entries that are done.
    notes: of rows that are done, the failed entries after that.
    selected: the metric that picked the "best" step of every row, "val/..."; None: more than one.
    description: see `synjax.report.sweeps`; "<task>" is replaced by every task.
    tasks: task -> chance level, of every task that was scored.
    scale: what metrics that are fractions are multiplied with.
  """

  def __init__(self, folder: pathlib.Path, description: Mapping[str, Any]):
    """Reads the folder and checks the description against it."""
    self.folder, declared = folder, read_declared(folder)
    if not declared:
      raise ValueError(
        f"{folder / SWEEP}: expected the rows of a sweep, found none; start launch.sweep"
      )
    self.declared = {
      row["id"]: {name: hashable(value) for name, value in row["overrides"].items()}
      for row in declared
    }
    entries = read_journal(folder)
    self.entries = [entries[name] for name in self.declared if name in entries]
    self.others = len(entries) - len(self.entries)
    self.done = [entry for entry in self.entries if entry["status"] == "done"]
    self.notes = [note for entry in self.done for note in entry.get("failures", ())]
    rules = {entry.get("select_metric", "") for entry in self.done}
    rule = scores.parse_rule(rules.pop())[0] if len(rules) == 1 else ""
    self.selected = rule if scores.split_of(rule) == "val" else None
    self.tasks = {
      task: level for entry in self.done for task, level in entry.get("chance", {}).items()
    }
    self.description = description = expand_tasks(description, self.tasks)
    self.scale = 100 if description.get("percent", True) else 1
    check(description, self.done)

  @functools.cached_property
  def comparison(self) -> Comparison | None:
    """The comparison of methods that the description asks for, see `methods.compare`."""
    if "comparison" not in self.description or not self.done:
      return None
    return methods.compare(self.description["comparison"], self.declared, self.done)

  @property
  def state(self) -> str:
    """Says how many rows are done."""
    failed = len(self.entries) - len(self.done)
    text = f"{len(self.done)} of {len(self.declared)} rows done"
    text += f", {failed} failed" if failed else ""
    return text + (f"; {len(self.notes)} later tries of done rows failed" if self.notes else "")

  def text(self, value: float | None, metric: str, digits: int = 1) -> str:
    """Formats a value of a metric: in %, `digits` behind the point, else four significant digits."""
    if value is None or math.isnan(value):
      return NOT_AVAILABLE
    return f"{value:.{digits}f}" if self.factor(metric) == 100 else f"{value:.4g}"

  def factor(self, metric: str) -> float:
    """Returns `scale` for metrics that are fractions, 1 for costs, errors and nats."""
    return self.scale if is_fraction(metric) else 1

  def unit(self, metrics: Iterable[str]) -> str:
    """Returns the unit of an axis that metrics share: "%", or "" where not all are shown in it."""
    return "%" if all(self.factor(metric) == 100 for metric in metrics) else ""

  def label(self, metric: str) -> str:
    """Returns the name of a metric for people."""
    default = COSTS[metric][0] if metric in COSTS else metric
    return self.description.get("metrics", {}).get(metric, default)

  def chance(self, metric: str) -> float | None:
    """Returns the chance level of "test/<task>/...", times `scale`; None: it has none."""
    found = scores.parse(metric)
    level = self.tasks.get(found.task) if found else None
    return None if level is None else self.scale * level

  def _value(self, entry: Mapping[str, Any], metric: str, which: str) -> float | None:
    """Returns a metric times `scale`, or a cost in the unit of its label; None: not measured."""
    if metric in COSTS:
      value, factor = entry.get(metric), COSTS[metric][1]
    elif metric == self.selected and metric not in entry[which]:
      value = entry.get(
        f"{which}_value"
      )  # rows of older versions know that of the selected step alone
      factor = self.factor(metric)
    else:
      value, factor = entry[which].get(metric), self.factor(metric)
    return None if value is None else factor * value

  def metrics(self) -> list[str]:
    """Returns every metric that was measured."""
    return list(dict.fromkeys(n for e in self.done for w in CHECKPOINTS for n in e[w]))

  def cells(
    self,
    fields: Sequence[str],
    metric: str,
    which: str,
    *,
    where: Mapping[str, Any] | None = None,
    pool: bool = False,
  ) -> dict[tuple, Score]:
    """Summarises a metric over the runs that agree in some fields.

    Args:
      fields: overrides, or fields of the config.
      metric: its name, or one of `COSTS`.
      which: "best" or "last".
      where: field -> value, of the runs to take.
      pool: whether runs may differ in more than the seed.

    Returns:
      The fields' values -> score, times `scale`; of a cost in the unit of its label.

    Raises:
      ValueError: runs to be averaged differ in more than the seed, and `pool` is False.
    """
    values: dict[tuple, list[float]] = {}
    averaged: dict[tuple, list[Mapping[str, Any]]] = {}
    first: dict[tuple, Mapping[str, Any]] = {}
    for entry in self.done:
      matches = all(field_of(entry, name) == value for name, value in (where or {}).items())
      value = self._value(entry, metric, which)
      if not matches or value is None:
        continue
      key = tuple(field_of(entry, name) for name in fields)
      values.setdefault(key, []).append(value)
      averaged.setdefault(key, []).append(entry)
      varied = {k: v for k, v in entry["overrides"].items() if k not in SEED_FIELDS}
      known = first.setdefault(key, varied)
      if not pool and known != varied:
        differing = sorted(n for n in {*known, *varied} if known.get(n) != varied.get(n))
        raise ValueError(
          f"report of the sweep, {metric} by {', '.join(fields)}: expected runs that differ in their"
          f" seeds only, found some that differ in {', '.join(differing)}; name the field, or choose"
          ' its value with "where"'
        )
    for entries in averaged.values():
      require_alike(entries)
    return {key: score(found) for key, found in values.items()}

  def intervals(
    self,
    fields: Sequence[str],
    metric: str,
    which: str,
    *,
    where: Mapping[str, Any] | None = None,
  ) -> dict[tuple, tuple[float, float]]:
    """Returns the ends of a whisker for everything that `cells` returns.

    Of several runs: mean -+ standard error; of one: `<metric>_low` and `<metric>_high`, the 95 %
    interval over test examples, or the value itself where they were not measured.
    """
    cells = self.cells(fields, metric, which, where=where)
    low, high = (
      self.cells(fields, f"{metric}_{end}", which, where=where) for end in ("low", "high")
    )
    return {
      key: (s.mean - s.error, s.mean + s.error)
      if s.n > 1
      else (low.get(key, s).mean, high.get(key, s).mean)
      for key, s in cells.items()
    }

  def reference(self, overrides: Mapping[str, Any], metric: str, which: str) -> float | None:
    """Returns the reference value for a run with these fields at this checkpoint, times `scale`."""
    for reference in self.description.get("reference", ()):
      if reference.get("which", "best") != which or metric not in reference["values"]:
        continue
      if reference["where"].items() <= overrides.items():
        return self.factor(metric) * reference["values"][metric]
    return None
