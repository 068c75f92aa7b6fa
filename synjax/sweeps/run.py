"""Trains the rows of a sweep, stack by stack, and journals each stack when it ends."""

import functools
import logging
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from synjax.config.durations import in_words
from synjax.sweeps import judges
from synjax.sweeps.journal import MISSING, Journal
from synjax.sweeps.plan import Row, group_id
from synjax.workdir import code_version, stopping
from synjax.workdir.identity import config_differences

logger = logging.getLogger("synjax")

# ArithmeticError: divisions and overflows of values that no check foresaw; one row ends no sweep.
FAILURES = (ValueError, OSError, ArithmeticError, RuntimeError)
# What the journal keeps of results.json, for the whole stack and for each row.
STACK_FACTS = (
  *("code", "data", "protocol", "chance", "select_metric", "selection", "hardware"),
  *("seconds_per_step", "program_bytes"),
)
ROW_FACTS = ("best_step", "best_value", "last_value", "best", "last", judges.JUDGED_BY)
_MOST_NAMED = 5  # of the values of a field that a line names
# Which rows are trained, by the state they are in.
ONLY = {
  "all": ("missing", "failed"),
  "missing": ("missing",),
  "failed": ("failed",),
  "outdated": ("outdated",),  # done, by other code than today's
}

Train = Callable[[ConfigDict, str, list[dict[str, Any]]], Mapping[str, Any]]


class Stack(NamedTuple):
  """What one call of `train` does.

  Attributes:
    rows: position among `trials` -> a row that is journaled.
    trials: that are trained together, in this order.
    facts: what the journal says about it: "rerun", or "instead_of": the group of the stack that its
      rows were in before, and are trained without others of it now.
  """

  rows: Mapping[int, Row]
  trials: Sequence[Mapping[str, int | float]]
  facts: Mapping[str, Any]

  @property
  def first(self) -> Row:
    """A row of the program of all."""
    return next(iter(self.rows.values()))

  @property
  def group(self) -> str:
    """Identifies what is trained."""
    return group_id(self.first.program, self.trials)


def _stack(rows: Sequence[Row], **facts) -> Stack:
  return Stack(dict(enumerate(rows)), [row.trial for row in rows], facts)


class Progress(NamedTuple):
  """How far a call of `run` is: groups and rows of this call, and the expected seconds left."""

  groups: int
  total_groups: int
  done: int
  failed: int
  total: int
  seconds_left: float


def log_progress(progress: Progress) -> None:
  """Logs one line."""
  logger.info(
    "sweep: group %d of %d, %d of %d rows done, %d failed, %s left",
    *progress[:3],
    progress.total,
    progress.failed,
    in_words(progress.seconds_left),
  )


def run(
  groups: Sequence[list[Row]],
  journal: Journal,
  train: Train,
  *,
  only: str = "all",
  rerun_ids: Sequence[str] = (),
  keep_workdirs: bool = False,
  progress: Callable[[Progress], None] = log_progress,
) -> Progress:
  """Trains the rows that are not done, group by group, and journals each group when it ends.

  Args:
    groups: see `sweep.group` and `sweep.shard`.
    journal: of this process.
    train: train(static config, workdir, trials) -> {"rows": [{"best_step", "best_value",
      "best": {metric: value}, "last": {metric: value}} of each trial, in order], ...}.
    only: "all": rows that are missing or failed; "missing"; "failed"; "outdated": rows that other code
      than today's has done.
    rerun_ids: rows to run again, done or not, and no others. One that is done is trained in the stack
      that it was trained in, so that it is the same program; a difference in numbers is logged.
    keep_workdirs: keep `<folder>/groups/<group id>.<code>` of groups that are done.
    progress: called after every group.

  Returns:
    The progress at the end.

  Raises:
    ValueError: unknown `only` or row id. Errors of `train` of the types `FAILURES` become failed
      rows instead; the next group goes on.
  """
  rows = [row for same in groups for row in same]
  before = judges.still_true(journal.read(), rows, journal.folder)
  if rerun_ids:
    pending = _again(groups, journal, before, rerun_ids)
  else:
    pending = _pending(groups, before, only)
  pending = sorted(pending, key=lambda stack: bool(stack.first.judges))  # unimodal models first
  total, ends = sum(len(stack.rows) for stack in pending), [(time.monotonic(), 0)]
  ready = functools.partial(
    judges.wait, journal=journal, own={r.id for r in rows}, since=time.time()
  )
  state = Progress(0, len(pending), 0, 0, total, 0.0)
  varied = _varied(rows)
  for stack in pending:
    shown = _describe([*stack.rows.values()], varied)
    logger.info("sweep: group %d of %d: %s ...", state.groups + 1, len(pending), shown)
    place = f"of {_name([*stack.rows.values()])}, group {state.groups + 1} of {len(pending)}"
    with stopping.named(lambda place=place: place):
      good = _run_stack(stack, journal, train, ready, keep=keep_workdirs)
    done, failed = state.done + good, state.failed + len(stack.rows) - good
    ends.append((time.monotonic(), done + failed))
    left = _seconds_left(ends, total)
    state = state._replace(groups=state.groups + 1, done=done, failed=failed, seconds_left=left)
    progress(state)
  if rerun_ids:
    _compare(before, journal.read(), rerun_ids)
  return state


def _varied(rows: Sequence[Row]) -> list[str]:
  """Returns the fields in which the rows of a call differ."""
  names = dict.fromkeys(name for row in rows for name in row.overrides)
  return [n for n in names if len({repr(row.overrides.get(n)) for row in rows}) > 1]


def _describe(rows: Sequence[Row], fields: Sequence[str]) -> str:
  """Says how many rows a group has and what tells them from others: "3 rows, lr=0.1, seed=0, 1, 2"."""
  texts = [f"{len(rows)} row{'s' * (len(rows) > 1)}"]
  for name in fields:
    if not any(name in row.overrides for row in rows):
      continue
    values = list(dict.fromkeys(str(row.overrides.get(name, "-")) for row in rows))
    more = f" and {len(values) - _MOST_NAMED} more" if len(values) > _MOST_NAMED else ""
    texts.append(f"{name}={', '.join(values[:_MOST_NAMED])}{more}")
  return ", ".join(texts)


def _seconds_left(ends: Sequence[tuple[float, int]], total: int) -> float:
  """Estimates the time of the rows that are left: as long a row as after the first group.

  The first compiles what later ones find in the cache; it counts while there is no other.

  Args:
    ends: (seconds, rows done by then) of the start and the end of each group.
    total: rows.
  """
  start, first = ends[min(len(ends) - 2, 1)]
  now, done = ends[-1]
  return (now - start) * (total - done) / (done - first)


def _pending(groups, entries, only: str) -> list[Stack]:
  """Returns what is left of the groups; rows of a stack that was not finite are retried alone."""
  if only not in ONLY:
    raise ValueError(f"--only: expected one of {sorted(ONLY)}, found {only!r}")
  pending = []
  for rows in groups:
    found = [(row, entries.get(row.id, MISSING)) for row in rows]
    wanted = [(row, entry) for row, entry in found if _status(entry, only) in ONLY[only]]
    # Of a stack in which one row diverged, the others are fine: alone, each fails for itself only.
    diverged = lambda entry: entry.get("error_type") == "FloatingPointError"  # noqa: E731
    together = [row for row, entry in wanted if not diverged(entry)]
    pending += [_stack(together)] * bool(together)
    pending += [_stack([row], **_was_in(entry)) for row, entry in wanted if diverged(entry)]
  return pending


def _status(entry: Mapping[str, Any], only: str) -> str:
  old = only == "outdated" and entry.get("sources") != code_version.sources()
  return "outdated" if old and entry["status"] == "done" else entry["status"]


def _was_in(entry: Mapping[str, Any]) -> dict[str, str]:
  """Returns the stack that a row which is trained alone now was in; nothing if it was alone before."""
  if "instead_of" in entry:
    return {"instead_of": entry["instead_of"]}
  return {"instead_of": entry["group"]} if entry.get("stack", 1) > 1 else {}


def _again(groups, journal: Journal, entries, ids: Sequence[str]) -> list[Stack]:
  """Returns the stacks that rows were trained in; of rows that are not done, what is left of theirs."""
  rows = {row.id: row for same in groups for row in same}
  unknown = sorted(set(ids) - set(rows))
  if unknown:
    raise ValueError(
      f"--rerun: expected ids that --dry_run lists (for this shard), found {unknown}"
    )
  done = [name for name in dict.fromkeys(ids) if entries.get(name, MISSING)["status"] == "done"]
  stacks: dict[str, Stack] = {}
  for name in done:
    row, entry = rows[name], entries[name]
    trials = journal.stacked_trials(entry.get("group", ""))
    if trials is None:
      logger.warning(
        "row %s: the journal has lost a part of the stack that it was trained in, of %d rows: it is"
        " trained alone, another program, whose numbers may differ",
        name,
        entry.get("stack", 1),
      )
      stacks[name] = _stack([row], rerun=True, **_was_in(entry))
      continue
    kept = {k: entry[k] for k in ("instead_of", "group", "program") if k in entry}
    stack = stacks.setdefault(entry["group"], Stack({}, trials, {"rerun": True, **kept}))
    stack.rows[trials.index(row.trial)] = row
  undone = [[row for row in same if row.id in ids and row.id not in done] for same in groups]
  return [*stacks.values(), *_pending(filter(None, undone), entries, "all")]


def _run_stack(
  stack: Stack, journal: Journal, train: Train, ready: Callable[..., None], *, keep: bool
) -> int:
  """Trains a stack and journals its rows; returns how many are done.

  A trial that is not finite stops its stack: its row has failed, and the others are trained again without
  it, which is another program. (A rerun is of one program, and fails as a whole.)
  """
  # Another program, and so another folder: what other code has begun is not gone on with.
  kept = journal.folder / "groups" / f"{stack.group}.{code_version.sources()}"
  rerun = stack.facts.get("rerun")
  workdir = kept.with_name(f"{kept.name}.rerun") if rerun else kept
  if workdir != kept:
    shutil.rmtree(workdir, ignore_errors=True)
  common, result, blamed = _attempt(stack, workdir, journal, train, ready)
  rest = [row for i, row in stack.rows.items() if i not in blamed]
  again = bool(blamed and rest and not rerun)
  ended = {i: row for i, row in sorted(stack.rows.items()) if i in blamed or not again}
  journal.append(
    _entry(row, i, common | ({"error": blamed[i]} if i in blamed else {}), result)
    for i, row in ended.items()
  )
  _tidy(kept, workdir, good=result is not None, keep=keep)
  if not again:
    return len(ended) if result is not None else 0
  logger.warning(
    "group %s: the other %d rows are trained again, without it", stack.group, len(rest)
  )
  before = stack.facts.get("instead_of", stack.group)
  return _run_stack(_stack(rest, instead_of=before), journal, train, ready, keep=keep)


def _attempt(
  stack: Stack,
  workdir: pathlib.Path,
  journal: Journal,
  train: Train,
  ready: Callable[[Collection[Row]], None],
) -> tuple[dict[str, Any], Mapping[str, Any] | None, Mapping[int, str]]:
  """Trains a stack once.

  Returns:
    What the journal says of all its rows; results, or None when it failed; and the trials that a failure
    is blamed on, position -> message.
  """
  started = time.time()
  common = {
    "group": stack.group,
    "program": stack.first.program,
    "stack": len(stack.trials),
    **stack.facts,
    "code": code_version.describe(),
    "sources": code_version.sources(),
    "versions": code_version.packages(),
    "reads": dict(stack.first.reads),
  }
  result, blamed = None, {}
  try:
    ready(stack.rows.values())
    if stack.first.overrides.get("role") == judges.ENSEMBLE:  # trains nothing
      result = judges.ensemble([*stack.rows.values()], journal)
    else:
      result = train(stack.first.static, str(workdir), [dict(trial) for trial in stack.trials])
    _check_result(result, stack)
    result = judges.judge(stack.rows, result, workdir, journal.folder)
  except FAILURES as error:
    result, blamed = None, getattr(error, "trials", {})
    common |= {"status": "failed", "error_type": _kind(error), "error": str(error)}
    failed = len(blamed) or len(stack.rows)
    logger.warning("group %s: %d rows failed: %s", stack.group, failed, error)
  else:
    common |= {"status": "done"} | {name: result[name] for name in STACK_FACTS if name in result}
  now = time.time()
  # The stack's wall time in this process, and a row's share of it.
  common |= {
    "stack_seconds": round(now - started, 3),
    "seconds": round((now - started) / len(stack.trials), 3),
    "time": now,
  }
  return common, result, blamed


def _kind(error: Exception) -> str:
  return "FloatingPointError" if isinstance(error, FloatingPointError) else type(error).__name__


def _name(rows: Sequence[Row], most: int = 3) -> str:
  """Names rows for one line."""
  more = f" and {len(rows) - most} more" if len(rows) > most else ""
  return f"row{'s' * (len(rows) > 1)} {', '.join(row.id for row in rows[:most])}{more}"


def _entry(row: Row, position: int, common, result) -> dict[str, Any]:
  """Returns the journal's line of a row."""
  own = result["rows"][position] if result else {}
  return {
    "id": row.id,
    **common,
    "position": position,
    "overrides": row.overrides,
    "trial": row.trial,
    **{name: own[name] for name in ROW_FACTS if name in own},
    "config": row.config,
  }


def _tidy(kept, workdir, *, good: bool, keep: bool) -> None:
  """Removes what is no longer needed of a stack's workdirs, `kept` and of a rerun `workdir`."""
  aside = kept.with_name(f"{kept.name}.failed")
  if not good:  # a retry starts afresh; what went wrong can be looked at
    if workdir.exists():
      shutil.rmtree(aside, ignore_errors=True)
      os.replace(workdir, aside)
  elif not keep:
    for folder in kept.parent.glob(f"{kept.name.partition('.')[0]}.*"):  # of other code, too
      shutil.rmtree(folder, ignore_errors=True)
  elif workdir != kept:
    shutil.rmtree(kept, ignore_errors=True)
    os.replace(workdir, kept)


def _check_result(result: Mapping[str, Any], stack: Stack) -> None:
  seeds = [trial["seed"] for trial in stack.trials]
  found = [row.get("seed", row.get("trial", {}).get("seed")) for row in result["rows"]]
  if found != seeds:
    raise RuntimeError(f"train: expected result rows of the trials' seeds {seeds}, found {found}")
  expected = stack.first.reads.get("data")
  trained_on = result.get("data_fingerprint", expected)
  if expected is not None and trained_on != expected:
    raise ValueError(
      f"data: expected those of the start of this sweep, fingerprint {expected}, found {trained_on}:"
      " they were replaced while it ran; start the same command again, which makes new rows of them"
    )


def _compare(before, after, ids: Sequence[str]) -> None:
  """Logs whether rows that were done before have the same numbers again."""
  for name in dict.fromkeys(ids):
    old, new = before.get(name, MISSING), after[name]
    if old["status"] != "done" or new["time"] == old["time"]:  # nothing to compare, or failed again
      continue
    pick = lambda entry: {which: entry[which] for which in ("best", "last")}  # noqa: E731
    differences = config_differences(pick(old), pick(new))
    code = [entry.get("code") for entry in (old, new)]
    by = f" (code {code[0]} -> {code[1]})" if code[0] != code[1] else ""
    logger.info("row %s%s: %s", name, by, "; ".join(differences) or "the same numbers again")
