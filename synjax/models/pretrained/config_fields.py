"""Fields of a published `config.json`, checked where they are read: they are a stranger's."""

import math
from collections.abc import Collection, Mapping
from typing import Any

# Largest values of a published tower, some times over; more would take hours to describe.
_MOST_LAYERS, _MOST = 256, 2**24


class ConfigFields:
  """An object of `config.json`; what it leaves out has a default, what it has must be of the right kind.

  Each method raises ValueError, in one line that names file and field.
  """

  def __init__(self, values: object, where: str):
    """Checks that `values` is an object; `where` names it in messages."""
    if not isinstance(values, Mapping):
      raise ValueError(f"{where}: expected an object, found {_show(values)}; get the file again")
    self._values, self.where = values, where

  def __contains__(self, name: str) -> bool:
    return name in self._values

  def value(self, name: str, default: Any = None) -> Any:
    """Returns a field as it is."""
    return self._values.get(name, default)

  def part(self, name: str) -> "ConfigFields":
    """Returns an object in it, without fields where it is not there or null."""
    found = self._values.get(name)
    return ConfigFields({} if found is None else found, f"{self.where}: {name}")

  def joined(self, *others: "ConfigFields") -> "ConfigFields":
    """Returns the fields of all, of the last one that has each."""
    values = dict(self._values)
    for other in others:
      values |= other._values
    return ConfigFields(values, self.where)

  def count(self, name: str, default: int, *, least: int = 1, most: int = _MOST) -> int:
    """Returns a whole number from `least` to `most`."""
    found = self._values.get(name, default)
    whole = isinstance(found, int) and not isinstance(found, bool)
    if not whole or not least <= found <= most:
      raise self._wrong(name, f"a whole number from {least} to {most}", found)
    return found

  def layers(self, name: str, default: int) -> int:
    """Returns how many layers there are."""
    return self.count(name, default, most=_MOST_LAYERS)

  def number(self, name: str, default: float, *, most: float = 1.0) -> float:
    """Returns a number from 0 to `most`: a probability, an epsilon."""
    found = self._values.get(name, default)
    real = isinstance(found, int | float) and not isinstance(found, bool)
    if not real or not math.isfinite(found) or not 0 <= found <= most:
      raise self._wrong(name, f"a number from 0 to {most:g}", found)
    return float(found)

  def flag(self, name: str, default: bool) -> bool:
    """Returns true or false."""
    found = self._values.get(name, default)
    if not isinstance(found, bool):
      raise self._wrong(name, "true or false", found)
    return found

  def choice(self, name: str, default: str, known: Collection[str]) -> str:
    """Returns one of some names."""
    found = self._values.get(name, default)
    if not isinstance(found, str) or found not in known:
      raise self._wrong(name, f"one of {sorted(known)}", found)
    return found

  def names(self, name: str, known: Collection[str] = ()) -> tuple[str, ...]:
    """Returns names: of a list, or of one string with | between them; none for null.

    With `known` they are some of those, in lower case.
    """
    found = self._values.get(name)
    names = [] if found is None else found
    names = names.split("|") if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
      raise self._wrong(name, "a list of names", found)
    if not known:
      return tuple(names)
    names = tuple(one.strip().lower() for one in names)
    if not set(names) <= set(known) or len(set(names)) < len(names):
      raise self._wrong(name, f"names of {sorted(known)}, each once", found)
    return names

  def _wrong(self, name: str, expected: str, found: object) -> ValueError:
    return ValueError(
      f"{self.where}: {name}: expected {expected}, found {_show(found)}; get the file again"
    )


def _show(value: object) -> str:
  """Returns a value as text of at most a line."""
  text = repr(value)
  return text if len(text) <= 80 else f"{text[:77]}..."
