"""New examples for a trained model, without its data: what it takes, and arrays checked against that.

`describe` says what a dataset's examples are, in plain values that a workdir holds (`schema.json`);
`empty_dataset` is that dataset without its examples, for a model to be built on, and `read` makes a split
of arrays in a user's hands, as `data.arrays` would of a file.
"""

import difflib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from synjax import data
from synjax.data import (
  array_split,
  fields,
  given_pictures,
  multibench,
  npz,
  pipeline,
  standardize,
  stored,
  tokens,
)

Schema = Mapping[str, Any]  # of `describe`
_KINDS = {
  2: "[examples, features]",
  3: "[examples, length, features]",
  4: "images [examples, rows, columns, channels]",
}


def describe(dataset: pipeline.Dataset) -> dict[str, Any] | None:
  """Says in plain values what the examples of a dataset are; None of data made for every trial."""
  split = dataset.train
  if split.generate is not None:
    return None
  if split.rows is None:
    batch = jax.eval_shape(split.gather, dict(split.arrays), np.zeros(1, np.int32))
  else:
    batch = split.rows.read(np.zeros(1, int))
  modalities = [
    {
      "name": name,
      "shape": list(batch[name].shape[1:]),
      "dtype": str(batch[name].dtype),
      "padded": fields.length(batch, name) is not None,
      "standardized": name in dataset.standardization,
    }
    for name in dataset.modalities
  ]
  return {
    "modalities": modalities,
    "tasks": dict(dataset.tasks),
    "regressions": dict(dataset.regressions),
    "multilabels": dict(dataset.multilabels),
    "label_kind": dataset.label_kind,
    "task": dataset.task,
    "num_classes": dataset.num_classes,
    "class_names": {task: list(names) for task, names in dataset.class_names.items()},
    "num_examples": {name: getattr(dataset, name).num_examples for name in ("train", "val")},
  }


def texts(schema: Schema) -> list[str]:
  """Returns the modalities that are texts."""
  return [m["name"] for m in schema["modalities"] if m["dtype"] == "int32"]


def empty_dataset(config, schema: Schema) -> pipeline.Dataset:
  """Returns a run's dataset with two examples of zeros in the place of its own.

  Args:
    config: the run's.
    schema: of `describe`, for the dataset that it was trained on.
  """
  zeros = {
    m["name"]: np.zeros((2, *m["shape"]), np.dtype(m["dtype"])) for m in schema["modalities"]
  }
  padded = [m["name"] for m in schema["modalities"] if m["padded"]]
  longest = max((zeros[name].shape[1] for name in padded), default=None)
  arrays = zeros | {
    fields.companion(name, "length"): np.full(2, zeros[name].shape[1], np.int32) for name in padded
  }
  several = schema.get("label_kind") == "multilabel"
  if schema["num_classes"]:  # a method may build a network for it
    arrays["label"] = np.zeros((2, schema["num_classes"]) if several else 2, np.int32)
  splits = {
    name: pipeline.Split(arrays, count, {}) for name, count in schema["num_examples"].items()
  }
  return pipeline.Dataset(
    name=config.data.name,
    modalities=tuple(zeros),
    tasks=schema["tasks"],
    regressions=schema["regressions"],
    multilabels=schema.get("multilabels", {}),
    task=schema.get("task", ""),
    label_kind=schema.get("label_kind", "classes"),
    **splits,
    probe=splits["train"],
    test=splits["val"],
    transforms=data.make_transforms(config, zeros),
    fingerprint="",
    facts={},
    num_classes=schema["num_classes"],
    padding=stored.make_padding(config, longest),
    class_names={task: tuple(names) for task, names in schema["class_names"].items()},
  )


def array(where: str, value: Any) -> np.ndarray:
  """Returns a user's values as an array.

  Raises:
    ValueError: some are masked: `np.asarray` would take what lies under the mask.
  """
  if np.ma.is_masked(value):
    raise ValueError(
      f"{where}: expected values, found a masked array, {np.ma.count_masked(value)} of whose values are"
      " masked; fill them (numpy.ma.filled), or leave those examples out"
    )
  try:
    return np.asarray(value)
  except ValueError as error:
    raise ValueError(
      f"{where}: expected an array, found values of different shapes; bring the examples into one shape,"
      " and give NAME_length where they are sequences of different lengths"
    ) from error


def read(
  where: str,
  given: Mapping[str, np.ndarray | None],
  schema: Schema,
  config,
  statistics: standardize.Statistics | None,
) -> pipeline.Split:
  """Makes a split of new examples.

  Args:
    where: what the arrays are of, for messages.
    given: modality -> [examples, ...] as a user has it, and for each `<modality>_length` and
      `<modality>_present`, as in an archive (`data.arrays`). A modality that is left out, or None, is
      one that every example lacks. Texts are strings, which the run's tokenizer reads and cuts at the
      longest text of the run, or token ids int[examples, length]. Pictures of datasets whose shards hold
      them in their own sizes may have theirs, see `given_pictures.read`.
    schema: of `describe`, for the run's dataset.
    config: the run's.
    statistics: modality -> what it is standardised by, of the run.

  Returns:
    The split, standardised and padded as the run's examples were; it has no labels.

  Raises:
    ValueError: an array is not what the run was trained on: one line with its name, what was expected,
      what was found and what to do.
  """
  known = {m["name"]: m for m in schema["modalities"]}
  arrays = {
    n: _values(f"{where}: {n}", n, value, known, config)
    for n, value in given.items()
    if value is not None
  }
  _check_names(where, arrays, known)
  given_texts = [name for name in texts(schema) if name in arrays]
  stored_as = known
  for name in given_texts:
    arrays |= _token_ids(f"{where}: {name}", name, arrays[name], schema, config)
    own = known[name] | {"shape": (*known[name]["shape"], 1), "dtype": "float32"}
    known = known | {name: own}  # ids are checked and padded as numbers of one feature
  maps = [name for name, own in known.items() if _is_map(own) and name in arrays]
  for name in maps:
    arrays[name] = _flat_map(f"{where}: {name}", name, arrays[name], known[name], config)
    own = known[name] | {"shape": arrays[name].shape[1:], "dtype": "float32"}
    known = known | {
      name: own
    }  # no archive of arrays has such examples: vectors, until they are read
  members = {
    name: npz.Given.of(
      where, name, value if name in maps else _prepared(config, known, name, value, arrays)
    )
    for name, value in arrays.items()
  }
  names = [name for name in known if name in arrays]
  for name in names:
    _check_shape(where, members[name], known[name], fields.companion(name, "length") in arrays)
  found = array_split.read(members[names[0]].path, members, names)
  for name in names:
    found |= _as_trained(where, members[name], known[name], found, statistics)
  for name in given_texts:
    found[name] = found[name][..., 0].astype(np.int32)
  for name in maps:
    shape, dtype = stored_as[name]["shape"], np.dtype(stored_as[name]["dtype"])
    found[name] = found[name].reshape(-1, *shape).astype(dtype)
  rows = NewRows(found, stored_as)
  lengths = [found[key] for name in names if (key := fields.companion(name, "length")) in found]
  longest = np.maximum(np.max(lengths, axis=0), 1) if lengths else None
  return pipeline.Split(
    {}, len(rows), {}, pipeline.already_gathered, rows=rows, lengths=longest,
    origin=pipeline.Origin(where, found["index"], found.get("ids")),
  )  # fmt: skip


def _values(where: str, name: str, value: Any, known: Mapping[str, Any], config) -> np.ndarray:
  """Returns a user's values as an array; pictures of any size as those that the run reads."""
  own, source = known.get(name), multibench.SOURCES.get(config.data.name)
  picture = own is not None and own["dtype"] == "uint8" and len(own["shape"]) == 3
  if not (picture and source and name in source.prepare):
    return array(where, value)
  value = array(where, value) if isinstance(value, np.ndarray) else value
  return given_pictures.read(where, value, multibench.make_field(config, name).prepare)


def _is_map(own: Mapping[str, Any]) -> bool:
  """Says whether examples are spectrograms or several frames: what `data.arrays` has no kind for."""
  return len(own["shape"]) > 3 or (len(own["shape"]) == 3 and own["dtype"] != "uint8")


def _flat_map(
  where: str, name: str, value: np.ndarray, own: Mapping[str, Any], config
) -> np.ndarray:
  """Returns spectrograms or frames as the run's, each as a vector; ValueError where they are others."""
  shape, dtype, given = tuple(own["shape"]), np.dtype(own["dtype"]), value
  fits = value.dtype == np.uint8 if dtype == np.uint8 else value.dtype.kind in "fiu"
  as_stored = config.data.name in multibench.SOURCES and value.ndim in (len(shape), len(shape) + 1)
  if fits and as_stored and value.shape[1:] != shape and len(value):
    value = np.stack([multibench.make_field(config, name).prepare(one) for one in value])
  if not fits or value.shape[1:] != shape:
    raise ValueError(
      f"{where}: expected {dtype.name}[examples, {', '.join(map(str, shape))}], as the run was trained"
      f" on, found {given.dtype}{list(given.shape)}; bring the examples into that form, or leave it out"
    )
  return value.reshape(len(value), -1).astype(np.float64)


def _token_ids(
  where: str, name: str, value: np.ndarray, schema: Schema, config
) -> dict[str, np.ndarray]:
  """Returns texts as ids float64[examples, steps, 1], exact below 2^24, and of strings their lengths.

  Raises:
    ValueError: they are neither strings nor ids, or the run's tokenizer is not there, or another.
  """
  if value.ndim == 1 and all(isinstance(one, str) for one in value.tolist()):
    (longest,) = next(m["shape"] for m in schema["modalities"] if m["name"] == name)
    tokenizer = tokens.of_modality(config, name)
    if known := schema.get("tokenizers", {}).get(name):
      tokens.require_same(tokenizer, known)
    ids, lengths = tokenizer(value.tolist(), longest)
    return {name: ids[..., None].astype(np.float64), fields.companion(name, "length"): lengths}
  if value.ndim != 2 or value.dtype.kind not in "iu" or (value < 0).any():
    raise ValueError(
      f"{where}: expected texts, strings [examples] or token ids of 0 and more int[examples, length],"
      f" found {value.dtype}{list(value.shape)}; give the strings themselves"
    )
  _check_ids(where, name, value, config)
  return {name: value[..., None].astype(np.float64)}


def _check_ids(where: str, name: str, ids: np.ndarray, config) -> None:
  """Raises ValueError where there are more ids than the run's tokenizer has, if that is there."""
  try:
    size = tokens.of_modality(config, name).size
  except ValueError:
    return
  if ids.max(initial=-1) >= size:
    raise ValueError(
      f"{where}: expected token ids below {size}, as many as the tokenizer has, found {ids.max()}; give"
      " the strings themselves"
    )


class NewRows:
  """New examples in memory, read a batch at a time; a `pipeline.RowReader` without labels.

  A modality that none of them has is zeros, which are made when they are read.
  """

  def __init__(self, found: array_split.Found, known: Mapping[str, Mapping[str, Any]]):
    """Takes the arrays, see `array_split.Found`, and what the run knows of each modality."""
    self.columns: dict[str, np.ndarray] = {}
    self._found = {
      name: array for name, array in found.items() if fields.modality_of(name, known) is not None
    }
    self._lacking = {name: own for name, own in known.items() if name not in found}
    self._count = len(found["index"])

  def __len__(self) -> int:
    """Returns the number of examples."""
    return self._count

  def read(self, index: np.ndarray, length: int | None = None) -> dict[str, np.ndarray]:
    """Reads examples as a padded batch, see `pipeline.RowReader`."""
    batch = {name: array[index] for name, array in self._found.items()}
    for name, own in self._lacking.items():
      batch[name] = np.zeros((len(index), *own["shape"]), np.dtype(own["dtype"]))
      batch[fields.companion(name, "present")] = np.zeros(len(index), bool)
      if own["padded"]:
        batch[fields.companion(name, "length")] = np.zeros(len(index), np.int32)
    return {
      name: array[:, :length] if fields.length(batch, name) is not None else array
      for name, array in batch.items()
    }


def _check_names(where: str, arrays: Mapping[str, Any], known: Mapping[str, Any]) -> None:
  """Refuses arrays that the run has no use for, and examples without any modality."""
  names = [*known, *(fields.companion(m, f) for m in known for f in ("length", "present")), "ids"]
  for name in arrays:
    if name not in names:
      near = difflib.get_close_matches(str(name), names, n=1)
      raise ValueError(
        f"{where}: {name}: expected modalities {', '.join(known)} of the run, and of each NAME_length and"
        f" NAME_present, found this name; {f'did you mean {near[0]}?' if near else 'leave it out'}"
      )
  if not set(known) & set(arrays):
    raise ValueError(
      f"{where}: expected at least one of the run's modalities, {', '.join(known)}, found"
      f" {', '.join(arrays) or 'nothing'}; add one"
    )


def _prepared(config, known, name: str, value: np.ndarray, arrays) -> np.ndarray:
  """Returns an array as it is checked: numbers as floats, MultiBench's prepared as stored ones are."""
  if name not in known or value.ndim not in _KINDS:
    return value
  if known[name]["dtype"] != "uint8" and value.dtype.kind in "iub":
    value = value.astype(np.float64)
  pictures = known[name]["dtype"] == "uint8"  # they are prepared already
  if config.data.name not in multibench.SOURCES or pictures:
    return value
  field = multibench.make_field(config, name)
  lengths = arrays.get(fields.companion(name, "length"), np.full(len(value), value.shape[1]))
  if field.length is None:
    return np.stack([field.prepare(one) for one in value])
  real = [field.prepare(one[:steps]) for one, steps in zip(value, lengths, strict=True)]
  return stored.pad(real, value.shape[1])[0]


def _check_shape(where: str, member: npz.Member, own: Mapping[str, Any], lengths: bool) -> None:
  """Refuses an array of other features, steps or dtype than the run was trained on."""
  shape, expected = member.shape[1:], tuple(own["shape"])
  skip = 1 if own["padded"] else 0
  fits = len(shape) == len(expected) and shape[skip:] == expected[skip:]
  fits &= not own["padded"] or shape[0] <= expected[0]
  image = own["dtype"] == "uint8"
  if not fits or (member.dtype != np.uint8 if image else member.dtype.kind != "f"):
    form = f"{_KINDS[len(expected) + 1]} of {' x '.join(map(str, expected))}"
    most = f", at most {expected[0]} steps" if own["padded"] else ""
    raise ValueError(
      f"{where}: {member.name}: expected {'uint8' if image else 'numbers'} {form}{most}, as the run was"
      f" trained on, found {member}; bring the examples into that form, or leave the modality out"
    )
  if lengths and not own["padded"]:
    raise ValueError(
      f"{where}: {member.name}_length: expected none, for every training example had"
      f" {' x '.join(map(str, expected))}, found one; leave it out"
    )


def _as_trained(
  where: str, member: npz.Member, own: Mapping[str, Any], found: array_split.Found, statistics
) -> array_split.Found:
  """Returns a modality standardised and padded, with its length."""
  name, array = member.name, found[member.name]
  real = standardize.real_rows(array, found, name)
  if own["standardized"]:
    if not statistics or name not in statistics:
      raise ValueError(
        f"{where}: {name}: expected what the run standardised it by, found none; bring"
        " standardization.json of the workdir back from a copy"
      )
    array = standardize.apply(member.read(), real, statistics[name])
  if not own["padded"]:
    return {name: array}
  steps, key = own["shape"][0], fields.companion(name, "length")
  here = array_split.present(found, name)
  lengths = found.get(key, np.where(here, array.shape[1], 0).astype(np.int32))
  pad = [(0, 0), (0, steps - array.shape[1]), (0, 0)]
  return {name: np.pad(array, pad), key: lengths}
