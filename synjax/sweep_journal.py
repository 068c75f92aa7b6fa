"""The journal of a sweep: what was trained, together with what, by which code, and what failed."""

import contextlib
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from synjax import stopping
from synjax.results import read_scores
from synjax.sweep import Row, group_id
from synjax.workdir import lock
from synjax.workdir.files import read_json_lines, resolve, to_json, write_atomically

MISSING = {"status": "missing"}


def read_entries(folder: str | pathlib.Path) -> list[dict[str, Any]]:
  """Reads every line that the processes of a sweep wrote, oldest first.

  A damaged line is skipped with a warning; scores that do not exist are NaN.
  """
  entries = [
    read_scores(entry)
    for path in sorted(pathlib.Path(folder).glob("rows*.jsonl"))
    for entry in read_json_lines(path, ("id", "time", "status"))
  ]
  return sorted(entries, key=lambda entry: entry["time"])


def read_journal(folder: str | pathlib.Path) -> dict[str, dict[str, Any]]:
  """Reads how every row stands: row id -> the newest entry that is done, or else the newest.

  The row of a damaged line counts as not run. A failure after the row was done makes no number wrong:
  the row stays done, and has the failed entries that are newer under "failures".
  """
  found: dict[str, dict[str, Any]] = {}
  for entry in read_entries(folder):
    before = found.get(entry["id"], MISSING)
    if entry["status"] != "done" == before["status"]:
      before["failures"] = [*before.get("failures", ()), entry]
    else:
      found[entry["id"]] = entry
  return found


class Journal:
  """The finished and failed rows of a sweep on disk; one file a process, lines are only added."""

  def __init__(self, folder: str | pathlib.Path, index: int = 0, count: int = 1):
    """Opens the journal of shard `index` of `count`; the folder is created."""
    self.folder = resolve(folder)
    self.folder.mkdir(parents=True, exist_ok=True)
    self._path = self.folder / (f"rows.{index}of{count}.jsonl" if count > 1 else "rows.jsonl")

  def hold(self) -> contextlib.AbstractContextManager:
    """Keeps other processes off this shard while it lasts; `lock.InUse` when one is there already."""
    return lock.hold(self.folder / f".{self._path.stem}.lock", "a sweep")

  def declare(self, rows: Sequence[Row]) -> None:
    """Writes sweep.json: which rows, of all shards, the sweep has. Reports count against it."""
    content = [
      {"id": row.id, "overrides": dict(row.overrides), "reads": dict(row.reads)} for row in rows
    ]
    write_atomically(self.folder / "sweep.json", to_json({"rows": content}, indent=1))

  def read(self) -> dict[str, dict[str, Any]]:
    """Returns how every row of all shards stands, see `read_journal`."""
    return read_journal(self.folder)

  def stacked_trials(self, row: Row, group: str) -> list[dict[str, Any]] | None:
    """Returns the trials that a row was trained together with, its own too, in their order.

    Args:
      row: of this sweep.
      group: of one of its entries.

    Returns:
      The trials; None when the journal does not have all of them any more.
    """
    trials = {
      entry["position"]: entry["trial"]
      for entry in read_entries(self.folder)
      if entry.get("group") == group and "position" in entry
    }
    ordered = [trials[position] for position in sorted(trials)]
    return ordered if group_id(row.program, ordered) == group else None

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
