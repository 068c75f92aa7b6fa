"""What a user should know about their arrays before training: which are used, and what looks wrong."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from synjax.data import array_leaks, array_roles, array_split
from synjax.data.array_kinds import Said
from synjax.data.array_split import Found
from synjax.data.npz import Member

_ENOUGH = 8  # examples, below which they may be numbered by chance
_CHECKED_FIRST = 1024  # examples


def list_modalities(
  members: Mapping[str, Member], modalities: Sequence[str], ignored: Iterable[str]
) -> str:
  """Lists what is used and what is not: "sensor [sequence 6 x 3], table [vector 4]; ignored: x"."""
  used = [array_roles.describe(members[m], f"{m}_length" in members) for m in modalities]
  unused = ", ".join(ignored)
  return ", ".join(used) + (f"; ignored: {unused}" if unused else "")


def refuse_bookkeeping(
  path: pathlib.Path, train: Found, modalities: Sequence[str], chosen: Sequence[str]
) -> None:
  """Refuses modalities that the config does not name and whose values number or mark examples.

  Args:
    path: of the archive, for messages.
    train: training examples.
    modalities: names.
    chosen: those that the config names.

  Raises:
    ValueError: a column counts the examples, or zeros and ones mark the real steps of a sequence.
  """
  steps = {train[name].shape[1] for name in modalities if train[name].ndim == 3}
  for name in set(modalities) - set(chosen):
    if _counts_examples(train[name]):
      what = "a column that numbers the examples: names of examples are read from an array ids"
    elif _marks_steps(train[name], steps):
      what = (
        "zeros behind ones, as many as a sequence has steps, which look like a mask: store the number of"
        " real steps as <modality>_length"
      )
    else:
      continue
    raise ValueError(
      f"{path}: {name}: expected an input, found {what}; leave it out, or say that it is an input by"
      " naming all modalities in --config.data.modalities"
    )


def _counts_examples(values: np.ndarray) -> bool:
  """Says whether [examples, 1] holds different whole numbers without large gaps."""
  if values.ndim != 2 or values.shape[1] != 1 or len(values) < _ENOUGH:
    return False
  numbers = np.unique(values)
  whole = bool((numbers == np.floor(numbers)).all())
  return whole and len(numbers) == len(values) and np.ptp(numbers) < 2 * len(values)


def _marks_steps(values: np.ndarray, steps: set[int]) -> bool:
  """Says whether [examples, steps] or [examples, steps, 1] is 1 up to some step and 0 behind it."""
  flat = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
  lengths = steps - ({values.shape[1]} if values.ndim == 3 else set())
  if flat.ndim != 2 or flat.shape[1] < 2 or flat.shape[1] not in (lengths or steps):
    return False
  return bool(np.isin(flat, (0, 1)).all() and (np.diff(flat, axis=1) <= 0).all())


def describe_numbers(where: str, label: np.ndarray, said: Said) -> str:
  """Describes the numbers to predict.

  Args:
    where: file and array, for messages.
    label: of the training examples, [examples] or [examples, outputs], as they are stored.
    said: what the user says of them.

  Raises:
    ValueError: they are all alike, or float32 makes them so.
  """
  values = label.reshape(len(label), -1)
  constant = np.flatnonzero((values == values[0]).all(axis=0))
  if len(constant) == values.shape[1]:
    raise ValueError(
      f"{where}: expected numbers that differ, found {values[0, 0]!s} for all {len(values)} training"
      f" examples; {said.without}"
    )
  lost = np.flatnonzero(array_split.lost_in_float32(values))
  if len(lost):
    low, high = values[:, lost[0]].min(), values[:, lost[0]].max()
    raise ValueError(
      f"{where}: expected numbers that float32 tells apart, found {label.dtype} from {low} to {high};"
      " subtract their mean and divide by their standard deviation before you store them"
    )
  same = f"; the same in all training examples: {', '.join(map(str, constant))}"
  return f"regression, {values.shape[1]} outputs" + (same if len(constant) else "")


def look_for_labels(
  path: pathlib.Path,
  train: Found,
  modalities: Sequence[str],
  chosen: Sequence[str],
  tasks: Sequence[str],
) -> dict[str, str]:
  """Looks for labels among the inputs, see `array_leaks.copies`, `separators` and `in_order`.

  Args:
    path: of the archive, for messages.
    train: training examples; labels int[examples], float[examples, outputs] or int[examples, labels].
    modalities: names.
    chosen: those that the config names: there it is said, elsewhere refused.
    tasks: names of the labels.

  Returns:
    Facts.

  Raises:
    ValueError: a modality holds labels.
  """
  facts: dict[str, str] = {}
  for name in modalities:
    here = array_split.present(train, name)
    if not here.any():
      raise ValueError(
        f"{path}: {name}: expected training examples that have it, found none; leave it out"
      )
    for task in tasks:
      where = f"{path}: {name}"
      values, label = train[name][here], train[task][here]
      said = _look_for(where, values, label, task, refused=name not in chosen)
      facts |= {f"{task} in {name}": said} if said else {}
      facts |= _label_in_fields(train, name, task)
  return facts


def _look_for(
  where: str, values: np.ndarray, label: np.ndarray, task: str, *, refused: bool
) -> str:
  """Says what of a modality looks as if it were made of a task's labels; "": nothing."""
  called = _called(task)
  of = "" if task == array_roles.LABEL else f" of {task}"
  found = array_leaks.copies(values, label)
  if len(found) and refused:
    raise ValueError(
      f"{where}: expected an input, found {called} in another form:"
      f" {_features(found, values.shape[1:])} follow it exactly in all {len(values)} training examples;"
      " leave them out of the archive, or say that they are inputs by naming all modalities in"
      " --config.data.modalities"
    )
  if label.ndim == 1 and refused and array_leaks.is_one_hot_in_noise(values, label):
    raise ValueError(
      f"{where}: expected an input, found {called} in another form: one feature a class, the highest"
      f" always that of {called}; leave it out, or say that it is an input by naming all modalities in"
      " --config.data.modalities"
    )
  apart = array_leaks.separators(values, label) if label.ndim == 1 else found[:0]
  ordered = array_leaks.in_order(values, label) if label.ndim == 2 else found[:0]
  for kind, features in (
    (f"follow {called} exactly", found),
    (f"tell all classes{of} apart", apart),
    (f"are in the order of {called}", ordered),
  ):
    if len(features):
      return f"{_features(features, values.shape[1:])} {kind} in training: is it made of {called}?"
  return ""


def _called(task: str) -> str:
  return "the label" if task == array_roles.LABEL else task


def _features(index: np.ndarray, shape: tuple[int, ...]) -> str:
  """Names features: "2 of its 12 features, such as [0, 3],"."""
  place = list(map(int, np.unravel_index(index[0], shape)))
  return f"{len(index)} of its {np.prod(shape)} features, such as {place},"


def _label_in_fields(train: Found, name: str, task: str) -> dict[str, str]:
  """Says where the length or the presence of a modality gives labels away."""
  facts, called = {}, _called(task)
  for ending in array_roles.ENDINGS:
    field = train.get(f"{name}_{ending}")
    if field is not None and len(array_leaks.copies(field[:, None], train[task])):
      facts[f"{task} in {name}_{ending}"] = f"follows {called} exactly in training"
  return facts


def list_constant(statistics: Mapping[str, Mapping[str, Sequence[float]]]) -> dict[str, str]:
  """Says what features were standardised, and which of them are constant in training."""
  if not statistics:
    return {}
  constant = {name: np.flatnonzero(np.equal(s["deviation"], 0)) for name, s in statistics.items()}
  said = "; ".join(
    f"constant in training, 0 everywhere: {len(features)} of {name}, such as {features[0]}"
    for name, features in constant.items()
    if len(features)
  )
  return {
    "standardized": f"{', '.join(statistics)}, on training examples" + f"; {said}" * bool(said)
  }


def describe(
  found: Mapping[str, Found], modalities: Sequence[str], *, standardized: bool
) -> dict[str, object]:
  """Collects counts, and what may be a mistake: ids in two splits, features of different scales."""
  facts: dict[str, object] = {
    "num_examples": {split: len(arrays["index"]) for split, arrays in found.items()}
  }
  lacking = {
    name: {split: int((~arrays[f"{name}_present"]).sum()) for split, arrays in found.items()}
    for name in modalities
    if f"{name}_present" in found["train"]
  }
  if lacking:
    facts["examples without"] = lacking
  scales = {
    name: _spread_of_scales(found["train"][name])
    for name in modalities
    if found["train"][name].ndim < 4 and not standardized
  }
  said = [
    f"{name} {scale['smallest']:.2g} to {scale['largest']:.2g}"
    for name, scale in scales.items()
    if scale
  ]
  if said:
    facts["scales"] = (
      f"features of very different size: {', '.join(said)} (root mean square); nothing is standardised,"
      " as --config.data.standardize=false says"
    )
  shared = _shared_ids(found)
  if shared:
    facts["ids in two splits"] = shared
  return facts


def _shared_ids(found: Mapping[str, Found]) -> dict[str, int]:
  """Counts ids that two splits have in common: examples of test that were trained on."""
  ids = {split: arrays["ids"] for split, arrays in found.items() if "ids" in arrays}
  pairs = [(a, b) for a in ids for b in ids if a < b and ids[a].dtype.kind == ids[b].dtype.kind]
  counts = {f"{a} and {b}": len(np.intersect1d(ids[a], ids[b])) for a, b in pairs}
  return {pair: count for pair, count in counts.items() if count}


def _spread_of_scales(array: np.ndarray) -> Mapping[str, float] | None:
  """Returns the smallest and the largest scale of the features, or None when they are alike.

  The scale of a feature (last axis) is its root mean square over the first examples. Alike: within a
  factor of 100 of each other, and the largest within a factor of 100 of 1.
  """
  values = array[:_CHECKED_FIRST].reshape(-1, array.shape[-1])
  scales = np.sqrt(np.mean(np.square(values, dtype=np.float64), axis=0))
  scales = scales[scales > 0]
  if not len(scales):
    return None
  low, high = float(scales.min()), float(scales.max())
  alike = high <= 100 * low and 0.01 <= high <= 100
  return None if alike else {"smallest": low, "largest": high}
