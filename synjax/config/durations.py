"""Durations of a config: `<name>_steps` or `<name>_epochs`, one of them; converted to steps once."""

from collections.abc import Collection, Mapping
from typing import Any

NAMES = ("total", "log", "eval", "checkpoint")
_MOST = 2**31  # steps are counted in int32
_OTHER = {"steps": "epochs", "epochs": "steps"}


def twin(field: str) -> str | None:
  """Returns the field that gives the same duration in the other unit; None: `field` gives none."""
  name, _, unit = field.rpartition("_")
  return f"{name}_{_OTHER[unit]}" if name in NAMES and unit in _OTHER else None


def refuse_both(fields: Mapping[str, Any] | Collection[str], where: str) -> None:
  """Raises ValueError, beginning with `where`, where the same source gives both units of a duration."""
  values = fields if isinstance(fields, Mapping) else dict.fromkeys(fields, "")
  given = {field for field, value in values.items() if value is not None}
  both = sorted(field for field in given if twin(field) in given)
  if both:
    raise ValueError(f"{where}: expected one of {' and '.join(both)}, found both; leave one out")


def duration_steps(config, name: str, steps_per_epoch: int) -> int:
  """Converts `config.<name>_epochs` or `config.<name>_steps` to steps, at least 1.

  Args:
    config: holds exactly one of the two fields with a value that is not None.
    name: such as "total", "eval", "log".
    steps_per_epoch: steps of one pass over the training split.

  Returns:
    Steps, rounded to the nearest.

  Raises:
    ValueError: both or neither are given, or the duration is not positive, or of 2^31 steps or more.
  """
  given = {
    unit: config.get(f"{name}_{unit}")
    for unit in ("steps", "epochs")
    if config.get(f"{name}_{unit}") is not None
  }
  if len(given) != 1:
    raise ValueError(
      f"config: expected exactly one of {name}_steps and {name}_epochs, found {given or 'neither'}"
    )
  ((unit, value),) = given.items()
  steps = value * (steps_per_epoch if unit == "epochs" else 1)
  if not 0 < steps < _MOST:
    raise ValueError(
      f"config.{name}_{unit}: expected a positive number, of less than 2^31 steps, found {value}"
    )
  return max(1, round(steps))


def in_words(seconds: float) -> str:
  """Returns a time for readers: "12 s", "1.5 min"."""
  return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
