"""What a comparison found, in sentences: what is above chance, and what it can be told apart from."""

import math
from collections.abc import Sequence

from synjax.report.baselines import F1
from synjax.report.cells import Value
from synjax.report.comparison import LABEL, Column, Comparison, Entrant, Line, t_interval
from synjax.workdir.scores import Baseline, Score

SYNERGY = "synergy"
_MOST_NAMED = 6  # of those that a sentence says the same of


def sentences(comparison: Comparison) -> list[str]:
  """Returns sentences: the best method beside chance, and beside the other methods and the baselines.

  "Above" and "below" are said where a 95 % interval leaves no doubt: that of the score and chance; of two
  methods that of the differences between equal seeds, or with fewer than two of them both scores' own.
  They are about synergy where it was scored, else about the first column. A third one names the methods
  whose F1 of several labels an example is below that of the majority class, whatever the first two say.

  Args:
    comparison: of methods on one dataset.

  Returns:
    The sentences; of nothing that was scored there are none.
  """
  i = _headline(comparison)
  if i is None:
    return []
  best = comparison.best(i, trained=True) or _scored(comparison, i)[0]
  found = [_beside_chance(comparison, best, i), _beside_others(comparison, best, i)]
  below = [_below_majority(comparison, entrant) for entrant in comparison.entrants]
  below = [text for texts in below for text in texts]
  return [*found, f"Below the majority class in F1: {_listed(_some(below))}."] if below else found


def _below_majority(comparison: Comparison, entrant: Entrant) -> list[str]:
  """Says of each task on which an entrant's F1 is below the majority class', by how much."""
  texts, guess = [], Baseline("majority")
  every = [run for one in comparison.entrants for run in one.runs]
  for task in comparison.tasks:
    reads = [(run, Column("", (task,)).reads(run, comparison.tasks)) for run in entrant.runs]
    parts = []
    for metric in F1:
      trivial = guess.score(task, metric.name)
      level = next((run.scores[trivial] for run in every if trivial in run.scores), math.nan)
      rows = [
        {"": run.scores.get(str(Score("test", called[task], metric.name)), math.nan)}
        for run, called in reads
        if called
      ]
      own = Value.of(rows, "", metric.scale, metric.digits) if rows else None
      if own and own.mean < metric.scale * level:
        parts.append(f"{metric.said.removeprefix(', ')} {own} against {metric.scale * level:.1f}")
    texts += [f"{entrant.label} on {task} ({', '.join(parts)})"] if parts else []
  return texts


def _scored(comparison: Comparison, i: int) -> list[Line]:
  return [line for line in comparison.lines if line.kind == "method" and line.values[i]]


def _headline(comparison: Comparison) -> int | None:
  """Returns the column that the sentences are about."""
  known = [i for i in range(len(comparison.columns)) if _scored(comparison, i)]
  return next((i for i in known if SYNERGY in comparison.columns[i].tasks), next(iter(known), None))


def _name(column: Column) -> str:
  task = " and ".join(column.tasks)
  return task if column.sign > 0 else f"{task} ({column.title.rpartition(', ')[2]})"


def _beside_chance(comparison: Comparison, best: Line, i: int) -> str:
  column, value = comparison.columns[i], comparison.value(best, i)
  what = _name(column)
  if column.tasks == (LABEL,) and column.sign > 0:  # a task beside others is named
    what = column.metric.replace("_", " ")
    what += " on label" if len(comparison.columns) > 1 else ""
  start = f"{best.label}'s {what} {value}"
  if column.chance is None:
    trivial = _guess(comparison, i)
    verdict = _against(value, trivial[1], column.sign, trivial[0]) if trivial else "was scored"
  else:
    level = Value(column.chance, column.chance, column.chance, digits=column.digits)
    verdict = _against(value, level, column.sign, "chance")
  others = [
    _name(other)
    for k, other in enumerate(comparison.columns)
    if k != i and other.chance is not None and best.values[k] and _beats_chance(comparison, best, k)
  ]
  more = f"; above chance, too: {_listed(others)}" if others else ""
  return f"{start} {verdict}{more}."


def _beats_chance(comparison: Comparison, line: Line, i: int) -> bool:
  level = comparison.columns[i].chance
  return level is not None and comparison.value(line, i).low > level


def _guess(comparison: Comparison, i: int) -> tuple[str, Value] | None:
  """Returns what looks at no example, of a column without chance."""
  found = [line for line in comparison.lines if line.kind == "guess" and line.values[i]]
  return (found[0].label, comparison.value(found[0], i)) if found else None


def _against(own: Value, other: Value, sign: int, name: str) -> str:
  words = {1: "is above", -1: "is below", 0: "is not distinguishable from"}
  return f"{words[_compare(own, other)]} {'the ' if name != 'chance' else ''}{name} {other}".strip()


def _compare(own: Value, other: Value) -> int:
  """Returns 1 and -1 where the intervals say above and below, 0 where they overlap or are not known."""
  if math.isnan(own.low) or math.isnan(other.low):
    return 0
  return int(own.low > other.high) - int(own.high < other.low)


def _beside_others(comparison: Comparison, best: Line, i: int) -> str:
  """Says what the best method is better than, and what not; of one method alone, what its numbers are."""
  others = [line for line in _scored(comparison, i) if line is not best]
  rival, found = _strongest(comparison, i), {"better than": [], "not distinguishable from": []}
  found["worse than"] = []
  others.sort(key=lambda line: -comparison.columns[i].sign * comparison.value(line, i).mean)
  verdicts = [_paired(comparison, best, line, i) for line in others]
  if rival is not None:
    verdicts.append((_verdict(comparison, best, rival, i), _scored_text(comparison, rival, i)))
  for verdict, text in verdicts:
    words = ("not distinguishable from", "better than", "worse than")[verdict]
    found[words].append(text)
  parts = [f"is {words} {_listed(_some(texts))}" for words, texts in found.items() if texts]
  counts = {len(comparison.paired(line, i)) for line in others} - {0, 1}
  pairs = (
    f"{min(counts)}" if len(counts) == 1 else f"{min(counts)} to {max(counts)}" if counts else ""
  )
  rule = f" (Signed: {best.label} minus the other, over {pairs} paired seeds.)" if pairs else ""
  return f"It {'; '.join(parts)}.{rule}" if parts else _alone(best, i)


def _paired(comparison: Comparison, best: Line, line: Line, i: int) -> tuple[int, str]:
  """Returns how the best method stands to another, as `_verdict`, and how it is said."""
  column, found = comparison.columns[i], -comparison.paired(line, i)
  low, high = t_interval(found)
  if math.isnan(low):
    return _verdict(comparison, best, line, i), _scored_text(comparison, line, i)
  mean, *ends = (f"{value:+.{column.digits}f}" for value in (found.mean(), low, high))
  text = f"{line.label} ({mean} [{', '.join(ends)}])"
  return column.sign * (int(low > 0) - int(high < 0)), text


def _verdict(comparison: Comparison, own: Line, other: Line, i: int) -> int:
  """Returns 1 where a line is better than another by their intervals, -1 where it is worse, else 0."""
  verdict = _compare(comparison.value(own, i), comparison.value(other, i))
  return comparison.columns[i].sign * verdict


def _scored_text(comparison: Comparison, line: Line, i: int) -> str:
  return f"{line.label} {comparison.value(line, i)}"


def _strongest(comparison: Comparison, i: int) -> Line | None:
  """Returns the best of the baselines that look at examples."""
  found = [x for x in comparison.lines if x.kind in ("untrained", "raw") and x.values[i]]
  sign = comparison.columns[i].sign
  return max(found, key=lambda line: sign * comparison.value(line, i).mean, default=None)


def _alone(line: Line, i: int) -> str:
  """Says of whom the interval of a number is that stands beside no other."""
  seeds = len(line.values[i])
  if seeds > 1:
    return (
      f"The interval is over {seeds} seeds; no other method and no baseline stands beside it here."
    )
  return (
    "It is one seed: the interval is over test examples, and says nothing about other seeds; no other"
    " method and no baseline stands beside it here."
  )


def _some(texts: Sequence[str]) -> list[str]:
  """Returns the first of many texts, and how many others there are."""
  if len(texts) <= _MOST_NAMED:
    return list(texts)
  return [*texts[: _MOST_NAMED - 1], f"{len(texts) - _MOST_NAMED + 1} others"]


def _listed(texts: Sequence[str]) -> str:
  *start, last = texts
  return f"{', '.join(start)} and {last}" if start else last
