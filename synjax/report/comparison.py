"""Methods compared over seeds: scores with intervals, the clearly best, and paired differences."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from synjax.report import degenerate, units
from synjax.report.baselines import GUESSES, Value, name_of
from synjax.report.comparable import read_field
from synjax.workdir import scores
from synjax.workdir.scores import Baseline, Score

LABEL = "label"  # what a classifier's scores are of, whatever task it learned, but of arrays


@dataclasses.dataclass(frozen=True)
class Run:
  """One trained run.

  Attributes:
    seed: equal seeds share data, splits and order of examples.
    config: nested dict of plain values.
    scores: of the selected parameters, by name.
    stand_in: why the data are not those that results were published for; "": nothing says so.
  """

  seed: int
  config: Mapping[str, Any]
  scores: Mapping[str, float]
  stand_in: str = ""

  @property
  def classifies(self) -> bool:
    """Whether it is scored as a classifier, on the one task that it learned."""
    return "classification" in self.config.get("evaluators", ())


@dataclasses.dataclass(frozen=True)
class Entrant:
  """A method: its runs of all seeds and, where a column asks for one, of several settings.

  Attributes:
    label: what it is called.
    runs: at least one.
    planned: number of seeds.
    tried: configurations of which it is the best by validation; "": it had one.
  """

  label: str
  runs: Sequence[Run]
  planned: int
  tried: str = ""

  @property
  def method(self) -> str:
    """Name of the method."""
    return self.runs[0].config["method"]["name"]


@dataclasses.dataclass(frozen=True)
class Column:
  """What is compared.

  Attributes:
    title: for people.
    tasks: whose scores are averaged within a seed.
    metric: of the score.
    where: config field -> value, of the runs that are probed for it.
    scale: what scores are multiplied with.
    digits: behind the point.
    sign: 1 where higher is better, else -1.
    chance: level of a guess, times `scale`; None: there is none.
  """

  title: str
  tasks: tuple[str, ...]
  metric: str = "macro_accuracy"
  where: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  scale: float = 100
  digits: int = 1
  sign: int = 1
  chance: float | None = None

  def reads(self, run: Run, tasks: Iterable[str]) -> dict[str, str]:
    """Returns its tasks that a run is scored on -> what the run calls them.

    Args:
      run: of any method.
      tasks: of all runs that have classes.
    """
    if run.classifies:
      called = scores.learned_in(run.scores)
      return {task: called for task in self.tasks if task == learned_task(run, tasks)}
    if any(read_field(run.config, field) != value for field, value in self.where.items()):
      return {}
    return {task: task for task in self.tasks}


def learned_task(run: Run, tasks: Iterable[str]) -> str:
  """Returns the task that a classifier learned: its label's name among the tasks of the data."""
  asked = run.config["data"].get("task") or run.config["data"].get("tasks") or ()
  asked = (asked,) if isinstance(asked, str) else tuple(asked)
  known = [task for task in asked if task in tuple(tasks)] or list(asked)
  return known[0] if known else scores.learned_in(run.scores)


@dataclasses.dataclass(frozen=True)
class Line:
  """A row of the table.

  Attributes:
    label: what it is.
    kind: "method", "untrained" (its model before training), "raw" (models of raw features) or "guess".
    values: of each column by seed; {}: not scored. Of what needs no seed there is one, None.
    ends: of each column the 95 % interval over test examples, NaN where it is not known.
    modalities: that a model of raw features sees; "": all, or it is of another kind.
    of: labels of the methods whose untrained model it is.
  """

  label: str
  kind: str
  values: Sequence[Mapping[int | None, float]]
  ends: Sequence[tuple[float, float]]
  modalities: str = ""
  of: tuple[str, ...] = ()

  def value(self, i: int, digits: int) -> Value:
    """Returns mean, std and 95 % interval of a column.

    The interval is Student's over seeds (`t_interval`) where scores differ between seeds, else that over
    test examples.
    """
    found = np.array(list(self.values[i].values()), float)
    if not len(found):
      return Value(math.nan, math.nan, math.nan)
    mean = float(found.mean())
    if len(found) > 1 and np.ptp(found) > 1e-9 * np.abs(found).max():  # more than by rounding
      return Value(mean, *t_interval(found), float(found.std(ddof=1)), digits)
    low, high = self.ends[i]
    if self.kind == "guess" and math.isnan(low):  # what all examples are told has no error
      low = high = mean
    return Value(mean, low, high, math.nan, digits)


def t_interval(values: Sequence[float]) -> tuple[float, float]:
  """Returns mean -+ t(0.975, n - 1) std / sqrt(n), std with ddof 1; NaN of fewer than two values."""
  from scipy.special import stdtrit  # takes a while, and few reports need it

  values = np.asarray(values, float)
  if len(values) < 2:
    return math.nan, math.nan
  half = stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / math.sqrt(len(values))
  return float(values.mean() - half), float(values.mean() + half)


def chance_levels(found: Iterable[tuple[Run, Mapping[str, float]]]) -> dict[str, float]:
  """Returns task -> chance level of runs with theirs; a classifier's is that of what it learned."""
  found, levels = list(found), {}
  for run, chance in found:
    levels |= {} if run.classifies else chance
  for run, chance in found:
    for level in chance.values() if run.classifies else ():
      levels.setdefault(learned_task(run, levels), level)
  return levels


def every_task(runs: Iterable[Run], levels: Mapping[str, float]) -> list[Column]:
  """Returns a column of every task: macro accuracies, then errors of regressions.

  Args:
    runs: on one dataset.
    levels: of `chance_levels`.
  """
  runs = list(runs)
  classes = [
    Column(f"{task}, macro accuracy (%)", (task,), chance=100 * level)
    for task, level in levels.items()
  ]
  known = filter(None, (scores.parse(name) for run in runs for name in run.scores))
  errors = dict.fromkeys(s.task for s in known if s == Score("test", s.task, "mse"))
  dataset = runs[0].config["data"]["name"]
  scale, name = units.error_scale(dataset), units.error_name(dataset)
  digits = 2 if scale != 1 else 4
  return classes + [
    Column(f"{task}, {name}", (task,), "mse", scale=scale, digits=digits, sign=-1)
    for task in errors
  ]


class Comparison:
  """Entrants and baselines, column by column.

  Attributes:
    entrants: the methods.
    columns: what is compared.
    tasks: with classes that any run was scored on.
    lines: rows of the table: the methods as `entrants` has them, then the baselines.
  """

  def __init__(self, entrants: Sequence[Entrant], columns: Sequence[Column], tasks: Iterable[str]):
    """Collects the lines.

    Args:
      entrants: with at least one run each.
      columns: what is compared.
      tasks: with classes that any run was scored on, by the names of the data.

    Raises:
      ValueError: two runs of an entrant with one seed are scored on the same task of a column.
    """
    self.entrants, self.columns, self.tasks = list(entrants), list(columns), tuple(tasks)
    self._seeds: dict[int, tuple[int, ...]] = {}
    self.lines = [self._method(entrant) for entrant in self.entrants]
    self.lines += [*self._untrained(), *self._raw(), *self._guesses()]
    self.lines = [line for line in self.lines if line.kind == "method" or any(line.values)]

  def value(self, line: Line, i: int) -> Value:
    """Returns what stands in a cell; an interval holds no value that the score cannot have."""
    column = self.columns[i]
    value = line.value(i, column.digits)
    most = column.scale if column.sign > 0 else math.inf
    return value._replace(low=np.clip(value.low, 0, most), high=np.clip(value.high, 0, most))

  def mark(self, line: Line, i: int) -> str:
    """Returns `degenerate.mark` of a cell; none of seeds that differ, whose intervals are not kept."""
    found, chance = set(line.values[i].values()), self.columns[i].chance
    if line.kind == "guess" or len(found) != 1 or len(self.columns[i].tasks) > 1:
      return ""
    ends = dict(zip(("_low", "_high"), line.ends[i], strict=True))
    return degenerate.mark([{"": found.pop(), **ends}], "", chance)

  def seeds(self, i: int) -> tuple[int, ...]:
    """Returns the seeds that decide which method of a column is the best; () where none can.

    Those with which most differences between methods are of equal seeds: of all sets of seeds that a
    method has, or two share, the one with the largest (methods that have all of it - 1) x size. One seed
    decides only where no method has two. Where no such set is shared, they are the seeds of the method
    that alone has the most.
    """
    if i not in self._seeds:
      self._seeds[i] = self._sought(i)
    return self._seeds[i]

  def _sought(self, i: int) -> tuple[int, ...]:
    """Returns `seeds`, of which every line of the column asks again."""
    methods = [frozenset(line.values[i]) for line in self._scored(i)]
    most = max(map(len, methods), default=0)
    different = dict.fromkeys(methods)
    shared = dict.fromkeys(a & b for a in different for b in different)
    sets = [common for common in shared if len(common) >= min(2, most)]
    pairs = [len(s) * (sum(s <= own for own in methods) - 1) for s in sets]
    if max(pairs, default=0) > 0:
      return tuple(sorted(sets[int(np.argmax(pairs))]))
    longest = [own for own in methods if len(own) == most]
    return tuple(sorted(longest[0])) if len(longest) == 1 else ()

  def compared(self, i: int) -> list[Line]:
    """Returns the methods that have all `seeds`: one of them is the best."""
    seeds = set(self.seeds(i))
    return [line for line in self._scored(i) if seeds and seeds <= set(line.values[i])]

  def best(self, i: int, *, trained: bool = False) -> Line | None:
    """Returns the line with the best mean over `seeds`, maybe of the methods alone; None without any."""
    lines = self.compared(i)
    lines += [] if trained else [x for x in self.lines if x.kind != "method" and x.values[i]]
    means = [self.columns[i].sign * self._decides(line, i) for line in lines]
    return lines[int(np.argmax(means))] if lines else None

  def clearly_best(self, i: int) -> Line | None:
    """Returns the best line where its interval overlaps none of the others', else None.

    An interval that is not known overlaps.
    """
    best, sign = self.best(i), self.columns[i].sign
    others = [line for line in self.lines if line is not best and line.values[i]]
    if best is None or not others:
      return None
    own, rivals = self.value(best, i), [self.value(line, i) for line in others]
    apart = all(own.low > o.high if sign > 0 else own.high < o.low for o in rivals)
    return best if apart else None

  def paired(self, line: Line, i: int) -> np.ndarray:
    """Returns score minus the best method's, of each seed that both have."""
    best = self.best(i, trained=True)
    found = line.values[i]
    common = [seed for seed in found if best is not None and seed in best.values[i]]
    return np.array([found[seed] - best.values[i][seed] for seed in common], float)

  def _scored(self, i: int) -> list[Line]:
    return [line for line in self.lines if line.kind == "method" and line.values[i]]

  def _decides(self, line: Line, i: int) -> float:
    """Returns the mean over those of `seeds` that a line has; of what has none, over its own."""
    found = line.values[i]
    return float(
      np.mean([found[seed] for seed in self.seeds(i) if seed in found] or [*found.values()])
    )

  def _method(self, entrant: Entrant) -> Line:
    found = [self._collect(entrant.runs, column, _own) for column in self.columns]
    return Line(entrant.label, "method", *_apart(found))

  def _untrained(self) -> Iterator[Line]:
    """Yields the untrained models; those with equal scores on their common seeds are one and the same."""
    kept: list[tuple[list[str], Sequence, Sequence]] = []
    for entrant in self.entrants:
      name = _of(Baseline("random_encoder"))
      found = [self._collect(entrant.runs, column, name) for column in self.columns]
      values, ends = _apart(found)
      same = next((names for names, known, _ in kept if _agree(known, values)), None)
      if same is not None:
        same.append(entrant.label)
      else:
        kept.append(([entrant.label], values, ends))
    for names, values, ends in kept:
      label = f"untrained model of {', '.join(names)}"
      yield Line(label, "untrained", values, ends, of=tuple(names))

  def _raw(self) -> Iterator[Line]:
    """Yields the models of raw features, and guesses by the labels alone: the same for every run."""
    runs = [run for entrant in self.entrants for run in entrant.runs]
    known = dict.fromkeys(
      baseline
      for run in runs
      for score in map(scores.parse, run.scores)
      if score and (baseline := scores.baseline_of(score)) and baseline.model != "random_encoder"
    )
    models = list(dict.fromkeys(baseline.model for baseline in known))
    for baseline in sorted(known, key=lambda b: models.index(b.model)):
      found = [self._first(runs, column, _of(baseline)) for column in self.columns]
      kind = "guess" if baseline.model in GUESSES else "raw"
      alone = f" ({baseline.modalities} alone)" if baseline.modalities else ""
      label = f"{name_of(baseline, runs[0].config)}{alone}"
      yield Line(label, kind, *_apart(found), baseline.modalities)

  def _guesses(self) -> Iterator[Line]:
    levels = [{} if c.chance is None else {None: c.chance} for c in self.columns]
    yield Line("chance", "guess", levels, [(math.nan, math.nan)] * len(levels))

  def _first(self, runs, column: Column, name):
    """Returns what `_collect` does of the first run that has a baseline, without its seed."""
    for run in runs:
      values, ends = self._collect([run], column, name)
      if values:
        return {None: next(iter(values.values()))}, ends
    return {}, (math.nan, math.nan)

  def _collect(self, runs: Sequence[Run], column: Column, name):
    """Returns seed -> score of a column, and the mean ends of the intervals over test examples."""
    found: dict[int, dict[str, list[float]]] = {}
    for run in runs:
      for task, known_as in column.reads(run, self.tasks).items():
        metric = name(task, known_as, column.metric)
        row = [run.scores.get(f"{metric}{end}", math.nan) for end in ("", "_low", "_high")]
        own = found.setdefault(run.seed, {})
        if math.isnan(row[0]):
          continue
        if task in own:
          raise ValueError(
            f"report of methods, {column.title}: expected one run of"
            f" {run.config['method']['name']} with seed {run.seed} on {task}, found two; compare in it"
            ' only those of one setting, "where" in get_report'
          )
        own[task] = row
    whole = {seed: own for seed, own in found.items() if set(own) == set(column.tasks)}
    table = np.array([[own[t] for t in column.tasks] for own in whole.values()])
    if not len(table):
      return {}, (math.nan, math.nan)
    means = column.scale * table.mean(1)  # [seeds, (score, low, high)]
    low, high = means[:, 1:].mean(0) if len(column.tasks) == 1 else (math.nan, math.nan)
    return dict(zip(whole, map(float, means[:, 0]), strict=True)), (float(low), float(high))


def _apart(found: Sequence[tuple]) -> tuple[tuple, tuple]:
  """Returns the values of all columns, and the ends; there may be none, of runs without scores."""
  return tuple(values for values, _ in found), tuple(ends for _, ends in found)


def _agree(known: Sequence[Mapping], values: Sequence[Mapping]) -> bool:
  """Says whether scores of all columns are equal where both have the seed, and there is such a seed."""
  pairs = [
    (first[seed], second[seed])
    for first, second in zip(known, values, strict=True)
    for seed in first.keys() & second.keys()
  ]
  return bool(pairs) and all(math.isclose(*pair, rel_tol=1e-9) for pair in pairs)


def _own(task: str, known_as: str, metric: str) -> str:
  del task
  return str(Score("test", known_as, metric))


def _of(baseline: Baseline):
  """Returns the function to the name of a baseline's score; baselines know tasks by the data's names."""
  return lambda task, known_as, metric: baseline.score(task, metric)
