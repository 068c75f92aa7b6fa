"""What numbers must have in common to be averaged."""

from collections.abc import Iterable, Mapping
from typing import Any


def require_one_code(
  entries: Iterable[tuple[str, Mapping[str, Any]]], where: str, advice: str
) -> None:
  """Refuses an average over numbers of two code versions, and names them.

  Args:
    entries: name -> row of a sweep's journal, or results.json: `sources`, a hash of the code that makes
      numbers, and `code`, the version's name, which stands for it in rows of older versions.
    where: the message begins with it.
    advice: what to do instead, the end of the message.

  Raises:
    ValueError: they are of several versions.
  """
  by_code: dict[str, list[tuple[str, str]]] = {}
  for name, entry in entries:
    code = entry.get("code", "unknown")
    by_code.setdefault(entry.get("sources", code), []).append((name, code))
  if len(by_code) > 1:
    found = "; ".join(
      f"code {made[0][1]} ({', '.join(name for name, _ in made)})" for made in by_code.values()
    )
    raise ValueError(
      f"{where}: expected numbers of one code version in an average, found {found}. {advice}"
    )
