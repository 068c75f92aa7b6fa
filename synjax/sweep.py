"""Sweeps: runs that differ in a few fields, stacked where one program serves them, and journaled.

Read in the order of the dataflow: a sweep file (`synjax.sweep_file`) says what to run, `expand` makes
rows of it, `group` puts rows together that share a program, `shard` takes a process' part, `run`
trains. Whatever is finished stands in the `Journal`.
"""

import contextlib
import copy
import json
import logging
import math
import os
import pathlib
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from synjax import durations, stopping
from synjax.results import config_hash, read_scores
from synjax.sweep_file import describe, list_fields, set_field
from synjax.trial import read_field
from synjax.workdir import lock
from synjax.workdir.files import read_json_lines, to_json, write_atomically
from synjax.workdir.identity import config_differences

logger = logging.getLogger("synjax")

DATA_VERSION = 1  # raise it when the same config no longer means the same data
NOT_APPLIED = ("arm", "config")
FAILURES = (ValueError, OSError, FloatingPointError, RuntimeError)
# What the journal keeps of results.json.
GROUP_FACTS = ("chance", "seconds_per_step", "program_bytes")
ONLY = {"all": ("missing", "failed"), "missing": ("missing",), "failed": ("failed",)}


class Row(NamedTuple):
  """One run of a sweep.

  Attributes:
    id: 12 hex characters, a hash of `config` and of the data version: the same in any order of rows.
    overrides: what the sweep file says, with "seed" always there.
    config: every field of the run, nested plain values; `num_seeds` is 1.
    static: the config with traced fields and the seed at its file's defaults; rows that share it can
      be trained together.
    trial: "seed" and every traced field -> value.
    program: hash of `static` and of the names in `trial`.
  """

  id: str
  overrides: Mapping[str, Any]
  config: Mapping[str, Any]
  static: ConfigDict
  trial: Mapping[str, int | float]
  program: str


def expand(
  make_config: Callable[[str | None], ConfigDict],
  overrides: Sequence[Mapping[str, Any]],
  *,
  traced: Callable[[ConfigDict], Iterable[str]],
  check: Callable[[ConfigDict], None] = lambda config: None,
) -> list[Row]:
  """Turns overrides into rows and refuses what could not run, before anything does.

  A row without "seed" becomes `num_seeds` rows, with seeds `seed`, `seed` + 1, ...

  Args:
    make_config: from a config file's argument (a row's field "config", else None) to a new config.
    overrides: dotted field -> value, one mapping a row; a function gets the row's config, before its
      overrides, and returns the value.
    traced: from a config to its fields that may differ inside one program.
    check: raises ValueError when the values of a config make no sense.

  Returns:
    The rows, in the order given.

  Raises:
    ValueError: no rows; an unknown field; a value of the wrong type; `seed` and `num_seeds` in one
      row; the same run twice; what `make_config` or `check` refuses. The message has the row's number
      (from 1) and overrides.
  """
  if not overrides:
    raise ValueError(
      "sweep: expected at least one row, found none; see get_hyper in the sweep file"
    )
  overrides = [_resolve(make_config, given) for given in overrides]
  rows: list[Row] = []
  numbers: dict[str, int] = {}
  statics: dict[str, ConfigDict] = {}
  for number, given in enumerate(overrides, 1):
    for row in _expand_row(make_config, given, f"row {number} ({describe(given)})", traced, check):
      if row.id in numbers:
        raise ValueError(
          f"row {number} ({describe(given)}): expected another run than in row {numbers[row.id]}"
          f" ({describe(overrides[numbers[row.id] - 1])}), found the same config, id {row.id}; drop one"
        )
      numbers[row.id] = number
      rows.append(row._replace(static=statics.setdefault(row.program, row.static)))
  return rows


def _resolve(make_config, given: Mapping[str, Any]) -> Mapping[str, Any]:
  """Replaces values that are functions of the row's config by what they return for it."""
  if not any(map(callable, given.values())):
    return given
  config = make_config(given.get("config"))
  return {name: value(config) if callable(value) else value for name, value in given.items()}


def _expand_row(make_config, given, where, traced, check) -> list[Row]:
  if {"seed", "num_seeds"} <= set(given):
    raise ValueError(
      f"{where}: expected seed or num_seeds, found both; num_seeds makes rows itself"
    )
  applied = {field: value for field, value in given.items() if field not in NOT_APPLIED}
  durations.refuse_both(applied, where)
  try:
    full = make_config(given.get("config"))
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  static = copy.deepcopy(full)
  for field, value in applied.items():
    set_field(full, field, value, where)
  num_seeds = 1 if "seed" in given else full.num_seeds
  if num_seeds < 1 or not 0 <= full.seed <= 2**32 - num_seeds:
    raise ValueError(
      f"{where}: expected num_seeds of at least 1 and seeds in [0, 2**32), found"
      f" num_seeds={num_seeds}, seed={full.seed}"
    )
  try:
    flat = {field: read_field(full, field) for field in {*traced(full)} & {*list_fields(full)}}
  except ValueError as error:
    raise ValueError(f"{where}: {error}") from error
  hyper = {field: float(flat[field]) for field in sorted(flat) if flat[field] is not None}
  for field in set(applied) - {"seed", "num_seeds", *hyper}:
    set_field(static, field, applied[field], where)
  full.num_seeds = static.num_seeds = 1
  program = config_hash({"static": _plain(static), "traced": [*hyper]})
  recorded = {field: value for field, value in given.items() if field != "num_seeds"}
  rows = []
  for seed in range(full.seed, full.seed + num_seeds):
    full.seed = seed
    config = _plain(full)
    name = config_hash({"config": config, "data": DATA_VERSION})
    try:
      check(full)
    except ValueError as error:
      raise ValueError(f"{where}, id {name}: {error}") from error
    trial = {"seed": seed, **hyper}
    rows.append(Row(name, {**recorded, "seed": seed}, config, static.lock(), trial, program))
  return rows


def _plain(config: ConfigDict) -> dict[str, Any]:
  return json.loads(config.to_json_best_effort())


def group(rows: Sequence[Row], max_stack: int | None = None) -> list[list[Row]]:
  """Puts rows that one program can train together, in order.

  Args:
    rows: of one sweep.
    max_stack: largest size of a group, as memory allows; None: no limit. Groups of one program get
      equal sizes as far as they can, so that few sizes have to be compiled.

  Returns:
    The groups.

  Raises:
    ValueError: max_stack below 1.
  """
  if max_stack is not None and max_stack < 1:
    raise ValueError(f"--max_stack: expected at least 1, found {max_stack}")
  programs: dict[str, list[Row]] = {}
  for row in rows:
    programs.setdefault(row.program, []).append(row)
  groups = []
  for same in programs.values():
    count = math.ceil(len(same) / (max_stack or len(same)))
    size = math.ceil(len(same) / count)
    groups += [same[i : i + size] for i in range(0, len(same), size)]
  return groups


def group_id(rows: Sequence[Row]) -> str:
  """Returns 12 hex characters that identify what is trained: the static config and the trials."""
  return config_hash({"static": rows[0].program, "trials": [dict(row.trial) for row in rows]})


def parse_shard(text: str) -> tuple[int, int]:
  """Reads "i/n", shard i of n with i from 0.

  Raises:
    ValueError: anything else.
  """
  index, _, count = text.partition("/")
  if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
    raise ValueError(f"--shard: expected i/n with 0 <= i < n, such as 0/4, found {text!r}")
  return int(index), int(count)


def shard(groups: Sequence[list[Row]], index: int, count: int) -> list[list[Row]]:
  """Takes the groups of one of `count` processes: every group goes to one, rows are balanced.

  The largest group goes first, always to the shard with the fewest rows. A group is never split:
  with fewer groups than shards, a smaller `max_stack` gives everyone work.
  """
  loads = [0] * count
  owner = {}
  for i in sorted(range(len(groups)), key=lambda i: -len(groups[i])):
    owner[i] = loads.index(min(loads))
    loads[owner[i]] += len(groups[i])
  return [rows for i, rows in enumerate(groups) if owner[i] == index]


def read_journal(folder: str | pathlib.Path) -> dict[str, dict[str, Any]]:
  """Reads what all processes of a sweep wrote: row id -> its latest entry.

  The row of a damaged line, which is skipped with a warning, counts as not run; scores that do not
  exist are NaN.
  """
  entries = [
    read_scores(entry)
    for path in sorted(pathlib.Path(folder).glob("rows*.jsonl"))
    for entry in read_json_lines(path, ("id", "time", "status"))
  ]
  return {entry["id"]: entry for entry in sorted(entries, key=lambda entry: entry["time"])}


class Journal:
  """The finished and failed rows of a sweep on disk; one file a process, lines are only added."""

  def __init__(self, folder: str | pathlib.Path, index: int = 0, count: int = 1):
    """Opens the journal of shard `index` of `count`; the folder is created."""
    self.folder = pathlib.Path(folder).expanduser().absolute()
    self.folder.mkdir(parents=True, exist_ok=True)
    self._path = self.folder / (f"rows.{index}of{count}.jsonl" if count > 1 else "rows.jsonl")

  def hold(self) -> contextlib.AbstractContextManager:
    """Keeps other processes off this shard while it lasts; `lock.InUse` when one is there already."""
    return lock.hold(self.folder / f".{self._path.stem}.lock", "a sweep")

  def declare(self, rows: Sequence[Row]) -> None:
    """Writes sweep.json: which rows, of all shards, the sweep has. Reports count against it."""
    content = [{"id": row.id, "overrides": dict(row.overrides)} for row in rows]
    write_atomically(self.folder / "sweep.json", to_json({"rows": content}, indent=1))

  def read(self) -> dict[str, dict[str, Any]]:
    """Returns the latest entry of every row, of all shards."""
    return read_journal(self.folder)

  def append(self, entries: Iterable[Mapping[str, Any]]) -> None:
    """Adds lines and waits until they are on disk."""
    self._mend()
    with stopping.deferred(), self._path.open("ab") as file:
      file.write("".join(to_json(entry) + "\n" for entry in entries).encode())
      file.flush()
      os.fsync(file.fileno())

  def _mend(self) -> None:
    """Ends or cuts off a last line that a kill left unfinished, so that the next stays readable."""
    if not self._path.exists():
      return
    with self._path.open("rb+") as file:
      *_, last = file.read().split(b"\n")
      if not last:
        return
      try:
        json.loads(last)
        file.write(b"\n")
      except ValueError:
        file.truncate(file.tell() - len(last))


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
  left = progress.seconds_left
  logger.info(
    "sweep: group %d of %d, %d of %d rows done, %d failed, %s left",
    *progress[:3],
    progress.total,
    progress.failed,
    f"{left / 60:.1f} min" if left >= 60 else f"{left:.0f} s",
  )


def run(
  groups: Sequence[list[Row]],
  journal: Journal,
  train: Callable[[ConfigDict, str, list[dict[str, Any]]], Mapping[str, Any]],
  *,
  only: str = "all",
  rerun_ids: Sequence[str] = (),
  keep_workdirs: bool = False,
  progress: Callable[[Progress], None] = log_progress,
) -> Progress:
  """Trains the rows that are not done, group by group, and journals each group when it ends.

  Args:
    groups: see `group` and `shard`.
    journal: of this process.
    train: train(static config, workdir, trials) -> {"rows": [{"best_step", "best_value",
      "best": {metric: value}, "last": {metric: value}} of each trial, in order], ...}.
    only: "all": rows that are missing or failed; "missing"; "failed".
    rerun_ids: rows to run again, done or not, and no others; a difference in numbers is logged.
    keep_workdirs: keep `<folder>/groups/<group id>` of groups that are done.
    progress: called after every group.

  Returns:
    The progress at the end.

  Raises:
    ValueError: unknown `only` or row id. Errors of `train` of the types `FAILURES` become failed
      rows instead; the next group goes on.
  """
  before = journal.read()
  pending = _pending(groups, before, only, rerun_ids)
  total, started = sum(map(len, pending)), time.monotonic()
  state = Progress(0, len(pending), 0, 0, total, 0.0)
  for rows in pending:
    place = f"of {_name(rows)}, group {state.groups + 1} of {len(pending)}"
    with stopping.named(lambda place=place: place):
      good = _run_group(rows, journal, train, fresh=bool(rerun_ids), keep=keep_workdirs)
    done, failed = state.done + good * len(rows), state.failed + (not good) * len(rows)
    left = (time.monotonic() - started) * (total / (done + failed) - 1)
    state = state._replace(groups=state.groups + 1, done=done, failed=failed, seconds_left=left)
    progress(state)
  if rerun_ids:
    _compare(before, journal.read(), rerun_ids)
  return state


def _pending(groups, entries, only: str, rerun_ids: Sequence[str]) -> list[list[Row]]:
  """Returns what is left of the groups; rows of a stack that was not finite are retried alone."""
  if only not in ONLY:
    raise ValueError(f"--only: expected one of {sorted(ONLY)}, found {only!r}")
  known = {row.id for rows in groups for row in rows}
  unknown = sorted(set(rerun_ids) - known)
  if unknown:
    raise ValueError(
      f"--rerun: expected ids that --dry_run lists (for this shard), found {unknown}"
    )
  pending = []
  for rows in groups:
    found = [(row, entries.get(row.id, {"status": "missing"})) for row in rows]
    found = [
      (row, entry)
      for row, entry in found
      if (row.id in rerun_ids if rerun_ids else entry["status"] in ONLY[only])
    ]
    # Of a stack in which one row diverged, the others are fine: alone, each fails for itself only.
    diverged = lambda entry: entry.get("error_type") == "FloatingPointError"  # noqa: E731
    alone = [row for row, entry in found if diverged(entry)]
    together = [row for row, entry in found if not diverged(entry)]
    pending += [together] * bool(together) + [[row] for row in alone]
  return pending


def _run_group(rows: list[Row], journal: Journal, train, *, fresh: bool, keep: bool) -> bool:
  """Trains a group and journals its rows; says whether they are done."""
  workdir = journal.folder / "groups" / group_id(rows)
  aside = workdir.with_name(f"{workdir.name}.failed")
  if fresh:
    shutil.rmtree(workdir, ignore_errors=True)
  started = time.time()
  common = {"group": workdir.name, "stack": len(rows)}
  try:
    result = train(rows[0].static, str(workdir), [dict(row.trial) for row in rows])
    _check_result(result, rows)
  except FAILURES as error:
    common |= {"status": "failed", "error_type": type(error).__name__, "error": str(error)}
    logger.warning("group %s: %d rows failed: %s", workdir.name, len(rows), error)
    found = [{}] * len(rows)
  else:
    common |= {"status": "done", "code": result.get("code", "unknown")}
    common |= {name: result[name] for name in GROUP_FACTS if name in result}
    names = ("best_step", "best_value", "best", "last")
    found = [{name: row[name] for name in names if name in row} for row in result["rows"]]
  now = time.time()
  common |= {"seconds": round(now - started, 3), "time": now}
  journal.append(
    {"id": row.id, **common, "overrides": row.overrides, "trial": row.trial, **own}
    | {"config": row.config}
    for row, own in zip(rows, found, strict=True)
  )
  good = common["status"] == "done"
  if not good and workdir.exists():  # a retry starts afresh; what went wrong can be looked at
    shutil.rmtree(aside, ignore_errors=True)
    os.replace(workdir, aside)
  if good and not keep:
    shutil.rmtree(workdir, ignore_errors=True)
    shutil.rmtree(aside, ignore_errors=True)
  return good


def _name(rows: Sequence[Row], most: int = 3) -> str:
  """Names rows for one line."""
  more = f" and {len(rows) - most} more" if len(rows) > most else ""
  return f"row{'s' * (len(rows) > 1)} {', '.join(row.id for row in rows[:most])}{more}"


def _check_result(result: Mapping[str, Any], rows: Sequence[Row]) -> None:
  seeds = [row.trial["seed"] for row in rows]
  found = [row.get("seed", row.get("trial", {}).get("seed")) for row in result["rows"]]
  if found != seeds:
    raise RuntimeError(f"train: expected result rows of the trials' seeds {seeds}, found {found}")


def _compare(before, after, ids: Sequence[str]) -> None:
  """Logs whether rows that were done before have the same numbers again."""
  for name in ids:
    old, new = before.get(name, {}), after[name]
    if "done" == old.get("status") == new["status"]:
      pick = lambda entry: {which: entry[which] for which in ("best", "last")}  # noqa: E731
      differences = config_differences(pick(old), pick(new))
      logger.info("row %s: %s", name, "; ".join(differences) or "the same numbers again")
