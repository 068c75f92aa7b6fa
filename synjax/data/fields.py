"""Names of what a batch says about its modalities: put together and taken apart here only.

Beside a modality itself, [batch, ...], a batch may hold `<modality>_length` int32[batch] (of a padded
sequence; gone once views are made), `<modality>_valid` bool[batch, length] (True = real step) and
`<modality>_present` bool[batch] (False = the example lacks the modality; only where some example of the
dataset does). `<modality>_encoded` says that the modality is already what its encoder makes of it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import TypeVar

import jax

Value = TypeVar("Value")
COMPANIONS = ("length", "valid", "present", "encoded")


def companion(modality: str, what: str) -> str:
  """Returns the name of the field that says `what` (of `COMPANIONS`) about a modality."""
  return f"{modality}_{what}"


def modality_of(field: str, modalities: Collection[str]) -> str | None:
  """Returns which of the modalities a field of a batch is or says something about; None: none."""
  if field in modalities:
    return field
  return next((m for m in modalities for what in COMPANIONS if field == companion(m, what)), None)


def of_modalities(batch: Mapping[str, Value], modalities: Collection[str]) -> dict[str, Value]:
  """Returns the fields of a batch that belong to these modalities."""
  return {name: v for name, v in batch.items() if modality_of(name, modalities) is not None}


def check_names(modalities: Sequence[str]) -> None:
  """Raises ValueError where a modality is called what a batch calls a field about another one."""
  for name in modalities:
    other = modality_of(name, [m for m in modalities if m != name])
    if other is not None:
      raise ValueError(
        f"modality {name}: batches call the {name.removeprefix(f'{other}_')} of modality {other} so:"
        f" expected another name, found {tuple(modalities)}; rename one of the two"
      )


def length(batch: Mapping[str, Value], modality: str) -> Value | None:
  """Returns the lengths [batch] of a padded sequence of a gathered batch; None: it is not padded."""
  return batch.get(companion(modality, "length"))


def valid(batch: Mapping[str, jax.Array], modality: str) -> jax.Array | None:
  """Returns bool[batch, length], True = real step; None: no padding is marked."""
  return batch.get(companion(modality, "valid"))


def is_encoded(batch: Mapping[str, Value], modality: str) -> bool:
  """Says whether a modality of a batch is features, which its encoder made before."""
  return companion(modality, "encoded") in batch


def present(batch: Mapping[str, Value], modality: str) -> Value | None:
  """Returns bool[batch], False = the example lacks the modality; None: every example has it."""
  return batch.get(companion(modality, "present"))


def both(first: jax.Array | None, second: jax.Array | None) -> jax.Array | None:
  """Returns what is real by two accounts, bool over leading axes of an array; None says all is."""
  if first is None or second is None:
    return second if first is None else first
  first, second = sorted((first, second), key=lambda account: account.ndim)
  return first.reshape(first.shape + (1,) * (second.ndim - first.ndim)) & second
