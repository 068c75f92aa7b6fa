"""One split of a user's data: its arrays, read from an archive and checked one by one."""

import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from synjax.data import array_labels, array_roles
from synjax.data.npz import Member

_ROWS_NAMED = 5  # in a message
_LOST = 0.01  # standard deviations
# Integers from 0 beyond bytes, of many different values among so many rows, look like ids of tokens.
_BYTES, _MANY, _ROWS_LOOKED_AT, _COLUMNS = 256, 64, 4096, 4

# Name -> array with the example as its first axis: modalities, `<modality>_length`, `<modality>_present`
# (where some example lacks it), tasks, `ids`; and `index`, the rows of the file.
Found = dict[str, np.ndarray]


def read(
  path: pathlib.Path,
  members: Mapping[str, Member],
  modalities: Sequence[str],
  *,
  tasks: Sequence[str] = (),
  rounded: bool = False,
) -> Found:
  """Reads what is used of an archive.

  Args:
    path: of the archive, for messages.
    members: its arrays.
    modalities: names of those to use.
    tasks: names of the arrays of labels to use, all of which are there.
    rounded: whether float32 is all that is used of a modality: then what varies must be left in it.

  Returns:
    name -> array, see `Found`. Modalities are float32, or uint8 images; examples that lack a modality
    are zeros there, with length 0. Lengths are int32, presence is bool, labels are as they are stored.

  Raises:
    ValueError: an array does not fit; it is named.
  """
  found: Found = {}
  for task in tasks:
    where = f"{path}: {task}"
    found[task] = array_labels.check_split(where, _read_plain(where, members[task]))
  for name in modalities:
    reason = array_roles.unusable(members[name])
    if reason:
      raise ValueError(f"{path}: {name}: expected {array_roles.KINDS}; it {reason}")
  sizes = {name: members[name].shape[:1] for name in (*modalities, *found)}
  if len(set(sizes.values())) > 1:
    counts = {name: shape[0] for name, shape in sizes.items()}
    raise ValueError(f"{path}: expected the same number of examples in every array, found {counts}")
  ((count,),) = set(sizes.values())
  if not count:
    raise ValueError(f"{path}: {modalities[0]}: expected at least one example, found none")
  for name in modalities:
    found |= _read_modality(path, members, name, rounded)
  if "ids" in members:
    found["ids"] = _check_ids(f"{path}: ids", _read_plain(f"{path}: ids", members["ids"]), count)
  _check_not_empty(path, found, modalities)
  return found | {"index": np.arange(count)}


def take(found: Mapping[str, np.ndarray], rows: np.ndarray) -> Found:
  """Returns some examples of a split."""
  return {name: array[rows] for name, array in found.items()}


def present(found: Mapping[str, np.ndarray], modality: str) -> np.ndarray:
  """Returns which examples have a modality, bool[examples]."""
  return found.get(f"{modality}_present", np.ones(len(found[modality]), bool))


def _read_plain(where: str, member: Member) -> np.ndarray:
  """Reads an array that is not one of objects."""
  if member.dtype.hasobject:
    raise ValueError(f"{where}: expected texts or numbers; it {array_roles.unusable(member)}")
  return member.read()


def lost_in_float32(values: np.ndarray) -> np.ndarray:
  """Says of which features float32 rounds away what varies: bool[features].

  That is where the standard deviation of its error is more than a hundredth of that of the values.

  Args:
    values: [examples, features] of finite numbers.
  """
  centred = values.astype(np.float64)
  error = values.astype(np.float32) - centred
  centred -= centred[0].copy()  # a constant feature has deviation 0 exactly
  return error.std(axis=0) > _LOST * centred.std(axis=0)


def _refuse_lost(
  where: str, array: np.ndarray, here: np.ndarray, lengths: np.ndarray | None
) -> None:
  """Refuses features of vectors or sequences of which float32 leaves nothing."""
  real = here if array.ndim == 2 else np.repeat(here[:, None], array.shape[1], axis=1)
  if lengths is not None:
    real = real & (np.arange(array.shape[1]) < lengths[:, None])
  values = array[real]
  lost = np.flatnonzero(lost_in_float32(values)) if len(values) else ()
  if len(lost):
    low, high = values[:, lost[0]].min(), values[:, lost[0]].max()
    raise ValueError(
      f"{where}: expected numbers that float32 tells apart, found {array.dtype} from {low} to {high} in"
      f" feature {lost[0]}; subtract its mean, or --config.data.standardize=true"
    )


def _read_modality(
  path: pathlib.Path, members: Mapping[str, Member], name: str, rounded: bool
) -> Found:
  """Reads a modality with its lengths and presence."""
  where, member = f"{path}: {name}", members[name]
  array, count = member.read(), member.shape[0]
  found: Found = {}
  here = np.ones(count, bool)
  if f"{name}_present" in members:
    field = f"{path}: {name}_present"
    here = _check_presence(field, _read_plain(field, members[f"{name}_present"]), count)
  if f"{name}_length" in members:
    field = f"{path}: {name}_length"
    lengths = _check_lengths(field, _read_plain(field, members[f"{name}_length"]), array)
    contradictory = f"{name}_present" in members and (here & (lengths == 0)).any()
    if contradictory:
      raise ValueError(
        f"{field}: expected at least 1 where {name}_present is True, found 0 in {_rows(lengths == 0)}"
      )
    here &= lengths > 0
    found[f"{name}_length"] = np.where(here, lengths, 0).astype(np.int32)
  found[name] = _check_values(where, name, array, here)
  if rounded and array.ndim < 4:
    _refuse_lost(where, array, here, found.get(f"{name}_length"))
  if not here.all():
    found[f"{name}_present"] = here
  return found


def _check_values(where: str, name: str, array: np.ndarray, here: np.ndarray) -> np.ndarray:
  """Returns an image as it is and everything else as float32; zeros where `here` is False."""
  if array.ndim < 4:
    _check_token_ids(where, array)
    with np.errstate(over="ignore"):
      array = array.astype(np.float32)
  if not here.all():
    array[~here] = 0
  if array.ndim == 4:
    return array
  finite = np.isfinite(array)
  if finite.all():
    return array
  lost = ~finite.reshape(len(array), -1).any(axis=1)
  if lost.any():
    raise ValueError(
      f"{where}: expected finite numbers, found none at all in {_rows(lost)}; mark examples that lack"
      f" {name} with {name}_present = False (booleans, one an example), whose values may be anything"
    )
  raise ValueError(
    f"{where}: expected finite numbers, found NaN or infinity in"
    f" {_rows(~finite.reshape(len(array), -1).all(axis=1))}; replace them, or mark examples that lack"
    f" {name} with {name}_present = False"
  )


def _check_token_ids(where: str, array: np.ndarray) -> None:
  """Refuses whole numbers that look like ids of tokens: numbers that mean nothing by their size.

  From 0, or -1 for padding, beyond bytes, and many different ones. Floats may be counts or amounts, whose
  features differ in size: they are ids where there are several features that all go about as high.
  """
  if array.dtype.kind not in "iuf" or array.min() < -1 or array.max() < _BYTES:
    return
  if array.dtype.kind == "f":
    looked_at = array[:_ROWS_LOOKED_AT]
    highest = looked_at.max(axis=0)
    alike = highest.min() >= highest.max() / 2
    if array.ndim != 2 or array.shape[1] < _COLUMNS or not alike:
      return
    if not (looked_at == np.floor(looked_at)).all() or (looked_at > _BYTES).mean() < 0.5:
      return
  distinct = len(np.unique(array[:_ROWS_LOOKED_AT]))
  if distinct >= _MANY:
    raise ValueError(
      f"{where}: expected numbers, found {array.dtype} with {distinct} different values up to"
      f" {array.max()}, which look like ids of tokens: store their embeddings [examples, length,"
      " features]; if they are quantities, store them standardised"
    )


def _check_lengths(where: str, lengths: np.ndarray, array: np.ndarray) -> np.ndarray:
  """Returns the lengths of padded sequences as int32[examples]."""
  steps = array.shape[1]
  expected = f"{where}: expected integers [examples] from 0 (lacks it) to {steps}, found"
  if lengths.shape != array.shape[:1] or lengths.dtype.kind not in "iu":
    raise ValueError(f"{expected} {lengths.dtype}{list(lengths.shape)}")
  if not 0 <= lengths.min() <= lengths.max() <= array.shape[1]:
    raise ValueError(f"{expected} some from {lengths.min()} to {lengths.max()}")
  return lengths.astype(np.int32)


def _check_presence(where: str, values: np.ndarray, count: int) -> np.ndarray:
  """Returns which examples have a modality as bool[examples]."""
  fits = values.shape == (count,) and values.dtype.kind in "biuf"
  if not fits or not np.isin(values, (0, 1)).all():
    found = f"{values.dtype}{list(values.shape)}" + (" of other values" if fits else "")
    raise ValueError(f"{where}: expected booleans (or 0 and 1) [examples = {count}], found {found}")
  return values.astype(bool)


def _check_ids(where: str, ids: np.ndarray, count: int) -> np.ndarray:
  if ids.shape != (count,) or ids.dtype.kind not in "iuUS":
    raise ValueError(
      f"{where}: expected texts or integers, one an example [{count}], found {ids.dtype}"
      f"{list(ids.shape)}"
    )
  return array_labels.decode(where, ids)


def _check_not_empty(path: pathlib.Path, found: Found, modalities: Sequence[str]) -> None:
  """Refuses examples that have no modality at all."""
  empty = ~np.any([present(found, name) for name in modalities], axis=0)
  if empty.any():
    raise ValueError(
      f"{path}: expected at least one modality in every example, found none in {_rows(empty)}; leave"
      " them out"
    )


def _rows(where: np.ndarray) -> str:
  """Names the rows where a bool[examples] is True."""
  rows = np.flatnonzero(where)
  named = ", ".join(map(str, rows[:_ROWS_NAMED])) + (", ..." if len(rows) > _ROWS_NAMED else "")
  return f"row {named}" if len(rows) == 1 else f"{len(rows)} rows ({named})"
