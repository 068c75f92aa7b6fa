"""Your own data: a folder of NumPy archives, one a split, one array a modality.

  FOLDER/train.npz  FOLDER/test.npz  [FOLDER/validation.npz]

Each holds, with the example as the first axis of every array:

  <modality>           under a name of your choice: [examples, features], [examples, length, features] or
                       uint8 images [examples, rows, columns, 3 or 1]; features are standardised on the
                       training examples (`standardize`), images are not
  label                integers, texts or booleans (classes), or floats (a regression), or of several
                       labels an example [examples, labels] of 0 and 1 (`label_kind=multilabel`); may be
                       left out
  label_<task>         further labels, each a task of its own that is probed beside the others; a method
                       that learns from labels learns one of them, `config.data.task`
  <modality>_length    of sequences that are padded at the end: steps of every example; 0: it lacks them
  <modality>_present   booleans: False where an example lacks the modality, whose values may be anything
  ids                  texts or integers that name the examples in `embeddings.npz`

Without validation.npz a tenth of the training examples is held out, which is logged; an archive that is
called like a split in another way, such as val.npz, is refused. Any other array is refused, unless
`config.data.modalities` says which are used: then the others are ignored (`array_roles`). Classes are
those that occur in training (`array_labels`); examples of others are left out of validation and test, and
counted, or of several tasks refused (`array_tasks`).
"""

import hashlib
import pathlib
import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from synjax.data import (
  array_kinds,
  array_remarks,
  array_roles,
  array_split,
  array_tasks,
  array_views,
  npz,
  pipeline,
  standardize,
  stored,
  transforms,
)
from synjax.data.array_kinds import Asked
from synjax.data.array_split import Found
from synjax.data.array_tasks import Task

SPLITS = {"train": "train.npz", "val": "validation.npz", "test": "test.npz"}
_VAL_SHARE = 0.1
_SPLIT_SEED = 42
# What splits are called elsewhere, as words of a file's name -> what they are called here.
_OTHER_NAMES = {
  **dict.fromkeys(("train", "training", "trn", "trainval"), "train.npz"),
  **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel"), "validation.npz"),
  **dict.fromkeys(("development", "eval", "evaluation", "holdout", "heldout"), "validation.npz"),
  **dict.fromkeys(("test", "testing", "tst"), "test.npz"),
}
_ENDINGS = re.compile("(sets?|splits?|data|folds?|parts?|file|arrays?|samples|examples)$")


class _Source(NamedTuple):
  """Where each split comes from, and which of its arrays are used.

  Attributes:
    paths: split -> its archive.
    archives: split -> the arrays in it.
    modalities: names, in fusion order.
    chosen: those that the config names.
  """

  paths: dict[str, pathlib.Path]
  archives: dict[str, dict[str, npz.Member]]
  modalities: tuple[str, ...]
  chosen: tuple[str, ...]


def load(config, statistics: standardize.Statistics | None = None) -> pipeline.Dataset:
  """Loads a folder of archives.

  Args:
    config: the run's config; `data.data_dir` is the folder, `data.modalities` those to use (():
      all), `data.label_kind` what labels are (`array_kinds`), `data.task` which of them is learned
      (`array_tasks.choose`), `data.standardize` whether features are standardised, `data.views` see
      `array_views`, and `data.padding`, `data.buckets`, `data.transform`, `data.resolution` as for the
      MultiBench datasets.
    statistics: what features are standardised by, of a run that is trained; None: those of the training
      examples.

  Returns:
    The `Dataset`, whose tasks are called like their arrays; without labels it has none. A batch holds
    `<modality>_present` bool[batch] when some example of the dataset lacks that modality.

  Raises:
    ValueError: a file or an array is missing or does not fit, or may be something else than what it
      would be taken for; it is named.
  """
  folder = pathlib.Path(config.data.data_dir).expanduser()
  refuse_other_splits(folder)
  chosen = tuple(config.data.modalities)
  paths = {split: folder / file for split, file in SPLITS.items()}
  archives = {
    split: npz.open_archive(path)
    for split, path in paths.items()
    if split != "val" or path.exists()
  }
  roles = {}
  for split, members in archives.items():
    modalities = roles["train"].modalities if roles else chosen
    roles[split] = array_roles.assign(paths[split], members, modalities)
  modalities = roles["train"].modalities
  ignored = dict.fromkeys(name for own in roles.values() for name in own.ignored)
  tasks = {split: own.tasks for split, own in roles.items()}
  asked = array_tasks.ask(paths, archives, tasks, config.data.get("label_kind"))
  found = {
    split: array_split.read(
      paths[split],
      members,
      modalities,
      tasks=asked.used(),
      rounded=split == "train" and not config.data.standardize,
    )
    for split, members in archives.items()
  }
  for split, members in archives.items():
    _check_alike(paths[split], found[split], found["train"], members, archives["train"])
  facts = {}
  if "val" not in found:
    count = len(found["train"]["index"])
    found["train"], found["val"] = _hold_out(paths, found["train"], asked)
    facts["validation"] = (
      f"{len(found['val']['index'])} of the {count} examples of train.npz are held out, for there is no"
      " validation.npz"
    )
    paths["val"], archives["val"] = paths["train"], archives["train"]
  _complete_presence(found, modalities)
  known = array_tasks.find(paths, found, asked)
  facts |= {"modalities": array_remarks.list_modalities(archives["train"], modalities, ignored)}
  source = _Source(paths, archives, modalities, chosen)
  fingerprints = _fingerprints(found, modalities, known)
  facts |= array_tasks.encode(paths, known, found, asked)
  return _make_dataset(config, source, known, fingerprints, found, facts, statistics)


def refuse_other_splits(folder: pathlib.Path) -> None:
  """Raises ValueError for archives that are called like a split, but not as those that are read."""
  found = {}
  for path in sorted(folder.glob("*")):
    found_words = re.findall("[a-z]+", path.stem.lower())
    words = [form for word in found_words for form in (word, _ENDINGS.sub("", word))]
    meant = next((_OTHER_NAMES[word] for word in words if word in _OTHER_NAMES), None)
    if path.suffix.lower() == ".npz" and path.name not in SPLITS.values() and meant:
      found[path.name] = meant
  if found:
    rename = ", ".join(
      f"move {name} to another folder" if (folder / meant).exists() else f"rename {name} to {meant}"
      for name, meant in found.items()
    )
    raise ValueError(
      f"{folder}: expected no splits but {', '.join(SPLITS.values())}, found {', '.join(found)}, which"
      f" would not be read; {rename}"
    )


def _make_dataset(
  config,
  source: _Source,
  tasks: Mapping[str, Task],
  fingerprints: Mapping[str, str],
  found: dict[str, Found],
  facts: dict[str, object],
  statistics: standardize.Statistics | None,
) -> pipeline.Dataset:
  """Checks and describes the whole, and makes the splits."""
  paths, modalities, chosen = source.paths, source.modalities, source.chosen
  learned = array_tasks.choose(config.data.get("task", ""), tasks)
  facts |= _check_sizes(paths, found)
  array_remarks.refuse_bookkeeping(paths["train"], found["train"], modalities, chosen)
  facts |= array_remarks.look_for_labels(
    paths["train"], found["train"], modalities, chosen, tuple(tasks)
  )
  facts |= array_remarks.describe(found, modalities, standardized=config.data.standardize)
  statistics = _standardize(source, found, statistics) if config.data.standardize else {}
  facts |= array_remarks.list_constant(statistics)
  splits = {
    split: _make_split(arrays, modalities, tasks, learned, paths[split].name)
    for split, arrays in found.items()
  }
  train = found["train"]
  longest = max((train[name].shape[1] for name in _padded(train, modalities)), default=None)
  kinds = {kind: array_tasks.sizes(tasks, train, kind) for kind in array_kinds.KINDS[:3]}
  several = learned in kinds["multilabel"]
  return pipeline.Dataset(
    name="arrays",
    modalities=modalities,
    tasks=kinds["classes"],
    regressions=kinds["regression"],
    multilabels=kinds["multilabel"],
    task=learned,
    called=learned or array_roles.LABEL,
    label_kind="multilabel" if several else "classes",
    train=splits["train"],
    probe=splits["train"],
    val=splits["val"],
    test=splits["test"],
    transforms={
      name: make_transform(config, train[name], standardize.real_rows(train[name], train, name))
      for name in modalities
    },
    fingerprint=fingerprints[""],
    split_fingerprints={split: own for split, own in fingerprints.items() if split},
    facts=facts,
    num_classes=kinds["multilabel" if several else "classes"].get(learned, 0),
    padding=stored.make_padding(config, longest),
    published_validation=True,
    class_names={name: task.classes for name, task in tasks.items() if task.classes},
    standardization=statistics,
  )


def _standardize(
  source: _Source, found: dict[str, Found], statistics: standardize.Statistics | None
) -> standardize.Statistics:
  """Standardises vectors and sequences in place, from the numbers as they are stored.

  float32 has no digits left for what varies beside a large offset.

  Returns:
    modality -> statistics: those given, or those of the training split.

  Raises:
    ValueError: the statistics given are of other modalities or features.
  """
  used = {}
  for name in [m for m in source.modalities if found["train"][m].ndim < 4]:
    for split in sorted(
      found, key=lambda split: split != "train"
    ):  # training first: it is measured
      values = source.archives[split][name].read()[found[split]["index"]]
      real = standardize.real_rows(values, found[split], name)
      if name not in used:
        given = statistics.get(name) if statistics else standardize.measure(values, real)
        if given is None or len(given["mean"]) != values.shape[-1]:
          raise ValueError(
            f"{source.paths[split]}: {name}: expected the features that the run was standardised by,"
            f" {len(given['mean']) if given else 'none of this modality'}, found {values.shape[-1]}"
          )
        used[name] = given
      found[split][name] = standardize.apply(values, real, used[name])
  return used


def _check_alike(path: pathlib.Path, found: Found, train: Found, members, train_members) -> None:
  """Checks that a split has the arrays of the training split, of the same shapes and kinds."""
  optional = ("ids", "index")
  for name in dict.fromkeys((*train, *found)):
    if name in optional or name.endswith("_present"):
      continue
    there, here = (
      (arrays[name].shape[1:], _kind(stored_as.get(name, arrays[name]).dtype))
      if name in arrays
      else None
      for arrays, stored_as in ((train, train_members), (found, members))
    )
    if there != here:
      expected = f"{there[1]} of shape {list(there[0])} an example" if there else "none"
      raise ValueError(
        f"{path}: {name}: expected {expected}, as in train.npz, found {members.get(name, 'none')}"
      )


def _kind(dtype: np.dtype) -> str:
  """Names the kind of an array's values, without their size."""
  return {"i": "integers", "u": "integers", "f": "floats", "b": "booleans"}.get(dtype.kind, "texts")


def _hold_out(paths, train: Found, asked: Asked) -> tuple[Found, Found]:
  """Splits the training arrays into (training, validation)."""
  count = len(train["index"])
  if count < 2:
    raise ValueError(
      f"{paths['train']}: expected at least 2 examples, one of them to hold out for validation, found"
      f" {count}; or write validation.npz"
    )
  held_out = np.zeros(count, bool)
  chosen = np.random.default_rng(_SPLIT_SEED).permutation(count)[
    : max(1, round(_VAL_SHARE * count))
  ]
  held_out[chosen] = True
  held_out = array_tasks.spare_classes(train, held_out, paths, asked)
  return array_split.take(train, ~held_out), array_split.take(train, held_out)


def _complete_presence(found: Mapping[str, Found], modalities) -> None:
  """Adds `<modality>_present` to every split when an example of any split lacks the modality."""
  for name in modalities:
    if any(f"{name}_present" in arrays for arrays in found.values()):
      for arrays in found.values():
        arrays[f"{name}_present"] = array_split.present(arrays, name)


def _check_sizes(paths, found: Mapping[str, Found]) -> dict[str, str]:
  """Refuses an empty split; returns a fact about one that is too small for some scores."""
  counts = {split: len(found[split]["index"]) for split in ("val", "test")}
  for split, count in counts.items():
    if count < 1:
      raise ValueError(
        f"{paths[split]}: expected examples of classes that occur in training, found none; add some"
      )
  single = ", ".join(split for split, count in counts.items() if count == 1)
  return {"a single example in": f"{single}: some scores do not exist, null"} if single else {}


def _padded(arrays: Found, modalities) -> list[str]:
  return [name for name in modalities if f"{name}_length" in arrays]


def _make_split(
  arrays: Found, modalities, tasks: Mapping[str, Task], learned: str, file: str
) -> pipeline.Split:
  arrays = dict(arrays)
  origin = pipeline.Origin(file, arrays.pop("index"), arrays.pop("ids", None))
  known = {task: arrays.pop(task) for task in tasks}
  if learned and tasks[learned].kind != "regression":
    arrays["label"] = known[learned]
  lengths = [arrays[f"{name}_length"] for name in _padded(arrays, modalities)]
  # At least one step, for a batch of examples that lack all sequences needs a shape too.
  longest = np.maximum(np.max(lengths, axis=0), 1) if lengths else None
  return pipeline.Split(arrays, len(origin.index), known, lengths=longest, origin=origin)


def make_transform(config, array: np.ndarray, real: np.ndarray) -> pipeline.Transform:
  """Makes the views of a modality by its shape: an image's, a time series' or a vector's.

  Args:
    config: the run's.
    array: of the training examples.
    real: of `standardize.real_rows`; used by what is no image.
  """
  if array.ndim == 4:
    return transforms.image_transform(config.data.transform, config.data.resolution)
  return array_views.array_transform(
    array.ndim, array_views.make_pool(array[real]), **config.data.views
  )


def _fingerprints(
  found: Mapping[str, Found], modalities: tuple[str, ...], tasks: Mapping[str, Task]
) -> dict[str, str]:
  """Returns the fingerprint of all splits, under "", and of each alone."""
  whole = {"": _fingerprint(found, modalities, tasks)}
  return whole | {s: _fingerprint({s: arrays}, modalities, tasks) for s, arrays in found.items()}


def _fingerprint(
  found: Mapping[str, Found], modalities: tuple[str, ...], tasks: Mapping[str, Task]
) -> str:
  """Hashes all arrays of all splits, labels as they are stored, and what decides the classes' numbers.

  Modalities count in their order: another one is another fusion. Which task is learned does not count.
  """
  digest = hashlib.sha256(f"modalities/{modalities}".encode())
  for split, arrays in sorted(found.items()):
    for name, array in sorted(arrays.items()):
      if name != "index":
        digest.update(f"{split}/{name}/{array.dtype}/{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).view(np.uint8).reshape(-1))
  for name, (_, classes, _) in sorted(tasks.items()):
    if classes != tuple(range(len(classes))):
      of = "" if name == array_roles.LABEL else f"{name}/"  # as of archives that had no other
      digest.update(f"classes/{of}{classes}".encode())
  return digest.hexdigest()[:16]
