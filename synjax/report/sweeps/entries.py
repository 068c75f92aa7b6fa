"""Entries of a sweep's journal: their fields, and which of them may be averaged."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.alike import require_one_code

SEED_FIELDS = ("seed", "num_seeds", "data.irony_seed")
DATA_FIELDS = ("data", "protocol", "config")  # overrides, or sections, that decide the data


def require_alike(entries: Sequence[Mapping[str, Any]]) -> None:
  """Refuses an average over rows of two code versions, or of two states of the data, and names them.

  Rows whose overrides of the data differ, which a table may pool, are on other data.
  """
  require_one_code(
    ((f"row {entry['id']}", entry) for entry in entries),
    "report of the sweep",
    "Train the old ones again with --only=outdated, or use another --workdir",
  )
  states: dict[str, dict[str | None, str]] = {}
  for entry in entries:
    chosen = {k: v for k, v in entry["overrides"].items() if k.split(".")[0] in DATA_FIELDS}
    known = states.setdefault(json.dumps(chosen, sort_keys=True), {})
    known[entry.get("reads", {}).get("data")] = entry["id"]
  for data in states.values():
    if len(data) == 1:
      continue
    found = ", ".join(f"{fingerprint} (row {name})" for fingerprint, name in data.items())
    raise ValueError(
      "report of the sweep: expected rows on the same data in an average, found the fingerprints"
      f" {found}; use another --workdir, or name the field in which their data differ"
    )


def field_of(entry: Mapping[str, Any], name: str) -> Any:
  """Returns an override or, where there is none, a field of the config; None when it has none."""
  if name in entry["overrides"]:
    return hashable(entry["overrides"][name])
  value = entry["config"]
  for part in name.split("."):
    value = value.get(part) if isinstance(value, Mapping) else None
  return hashable(value)


def hashable(value: Any) -> Any:
  """Returns a tuple for a list, which is what JSON makes of one."""
  return tuple(value) if isinstance(value, list) else value
