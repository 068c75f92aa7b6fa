"""The journal of a sweep: what was trained, together with what, by which code, and what failed."""

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from synjax.sweeps.plan import Row, group_id, row_id
from synjax.workdir import identity, json_files, lock, stopping
from synjax.workdir.files import SWEEP, resolve, to_json, write_atomically
from synjax.workdir.results import FACTS, ROW, read_scores
from synjax.workdir.scores import todays_names

MISSING = {"status": "missing"}
_PLAIN = (str, float, bool, None)
_OVERRIDES = {...: (*_PLAIN, [_PLAIN])}
_DECLARED = {
  "rows": [{"id": str, "overrides": _OVERRIDES, "reads?": {...: str}, "former_ids?": [str]}]
}
_ROW = {
  **FACTS,
  **ROW,
  "id": str,
  "time": float,
  **{f"{name}?": str for name in ("group", "program", "instead_of", "protocol", "hardware")},
  **{f"{name}?": int for name in ("stack", "position")},
  "config?": dict,
  "overrides?": _OVERRIDES,
  "error_type?": str,
  "reads?": {...: str},
}
# A line that says a row is done has its scores, and says of what.
_DONE = {
  **dict.fromkeys(("best", "last"), json_files.SCORES),
  **{"status": "done", "config": dict, "overrides": _OVERRIDES},
}
_ENTRY = (_ROW | {"status": "failed", "error": str}, _ROW | _DONE)


def read_entries(folder: str | pathlib.Path) -> list[dict[str, Any]]:
  """Reads every line that the processes of a sweep wrote, oldest first.

  A damaged line is skipped with a warning; scores that do not exist are NaN; a row has today's id also
  where an older version wrote it, see `Journal.declare`.
  """
  known_as = {
    former: row["id"] for row in read_declared(folder) for former in row.get("former_ids", ())
  }
  return [
    _todays(entry) | {"id": known_as.get(entry["id"], entry["id"])} for entry in _read_lines(folder)
  ]


def _todays(entry: dict[str, Any]) -> dict[str, Any]:
  return todays_names(entry, entry.get("config", {}).get("data", {}).get("name", ""))


def read_declared(folder: str | pathlib.Path) -> list[dict[str, Any]]:
  """Reads sweep.json: "id" and "overrides" of all rows, and "former_ids"; [] before the first start."""
  path = pathlib.Path(folder) / SWEEP
  if not path.exists():
    return []
  advice = "start the same launch.sweep command again, which writes the file anew"
  return json_files.read(path, "list of a sweep's rows", _DECLARED, advice)["rows"]


def _read_lines(folder: str | pathlib.Path) -> list[dict[str, Any]]:
  entries = [
    read_scores(entry)
    for path in sorted(pathlib.Path(folder).glob("rows*.jsonl"))
    for entry in json_files.read_lines(path, _ENTRY)
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


def _former_ids(rows: Sequence[Row], entries, defaults) -> dict[str, list[str]]:
  """Returns row id -> other ids under which it stands in the journal, see `Journal.declare`."""
  known = {row.id for row in rows}
  shapes = {frozenset(_fields(row.config)): row.config for row in rows}
  former: dict[str, list[str]] = {}
  for entry in {entry["id"]: entry for entry in entries if "config" in entry}.values():
    own = _fields(entry["config"])
    for fields, wanted in shapes.items():
      if entry["id"] not in known and own < fields:
        filled = identity.fill(entry["config"], defaults(entry["config"]), wanted)
        name = row_id(filled, entry.get("reads", {}))
        if name in known:
          former.setdefault(name, []).append(entry["id"])
  return former


def _fields(config: Mapping[str, Any], prefix: str = "") -> set[str]:
  """Returns the dotted names of the fields of a nested dict."""
  parts = [
    _fields(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}"}
    for name, value in config.items()
  ]
  return set().union(*parts)


class Journal:
  """The finished and failed rows of a sweep on disk; one file a process, lines are only added."""

  def __init__(self, folder: str | pathlib.Path, index: int = 0, count: int = 1):
    """Opens the journal of shard `index` of `count`; the folder is created."""
    self.folder = resolve(folder)
    self.folder.mkdir(parents=True, exist_ok=True)
    self.count = count
    self._path = self.folder / (f"rows.{index}of{count}.jsonl" if count > 1 else "rows.jsonl")

  def hold(self) -> contextlib.AbstractContextManager:
    """Keeps other processes off this shard while it lasts; `lock.InUse` when one is there already."""
    return lock.hold(self.folder / f".{self._path.stem}.lock", "a sweep")

  def declare(
    self,
    rows: Sequence[Row],
    defaults: Callable[[Mapping[str, Any]], Mapping[str, Any]] | None = None,
  ) -> None:
    """Writes sweep.json: which rows, of all shards, the sweep has. Reports count against it.

    Args:
      rows: of the sweep.
      defaults: from a journaled config to what fields that it lacks are, nested. An entry of an older
        version, whose config lacks fields that a row has at their defaults, is an entry of that row.
    """
    former = _former_ids(rows, _read_lines(self.folder), defaults) if defaults else {}
    content = [
      {"id": row.id, "overrides": dict(row.overrides), "reads": dict(row.reads)}
      | ({"former_ids": former[row.id]} if row.id in former else {})
      for row in rows
    ]
    write_atomically(self.folder / SWEEP, to_json({"rows": content}, indent=1))

  def read(self) -> dict[str, dict[str, Any]]:
    """Returns how every row of all shards stands, see `read_journal`."""
    return read_journal(self.folder)

  def stacked_trials(self, group: str) -> list[dict[str, Any]] | None:
    """Returns the trials that were trained together in a group, in their order.

    Args:
      group: of an entry.

    Returns:
      The trials; None when the journal does not have all of them any more.
    """
    entries = {
      entry["position"]: entry
      for entry in _read_lines(self.folder)
      if entry.get("group") == group and {"position", "trial", "program"} <= set(entry)
    }
    ordered = [entries[position]["trial"] for position in sorted(entries)]
    programs = {entry["program"] for entry in entries.values()}
    return ordered if any(group_id(name, ordered) == group for name in programs) else None

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
        json_files.parse(last.decode())
        file.write(b"\n")
      except ValueError:
        file.truncate(file.tell() - len(last))
