"""The tasks of a user's archives: `label` and further `label_<task>`, each of its own kind and encoded.

Of one task, examples of classes that training lacks are left out of validation and test. Of several none
is, which would be another test set for all the others: there such classes are refused.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from synjax.data import array_kinds, array_labels, array_remarks, array_roles, array_split
from synjax.data.array_kinds import Asked
from synjax.data.array_split import Found
from synjax.data.npz import Member

_CLASSES_COUNTED = 20  # more are not counted one by one in the facts


class Task(NamedTuple):
  """What the labels of a task are.

  Attributes:
    kind: "classes", "multilabel" or "regression".
    classes: names, in the order of their numbers; of classes alone.
    remark: what to say of numbers.
  """

  kind: str
  classes: tuple = ()
  remark: str = ""


def ask(
  paths: Mapping[str, pathlib.Path],
  archives: Mapping[str, Mapping[str, Member]],
  tasks: Mapping[str, Sequence[str]],
  label_kind: str | None,
) -> Asked:
  """Reads what is asked for, and checks that all splits have the labels that are used.

  Args:
    paths: split -> its file, for messages.
    archives: split -> its arrays; training first.
    tasks: split -> names of its arrays of labels.
    label_kind: `config.data.label_kind`.

  Returns:
    What is said of the tasks; those to use are `Asked.used()`.

  Raises:
    ValueError: a split lacks labels that another one has, or what looks like labels has another name.
  """
  asked = array_kinds.parse(label_kind, tasks["train"])
  members = archives["train"]
  similar = [name for name in members if array_roles.looks_like_a_label(name)]
  if asked.every != "none" and not tasks["train"] and similar:
    raise ValueError(
      f"{paths['train']}: {similar[0]}: expected labels in an array named label, found"
      f" {', '.join(similar)}; rename it, or {asked.of(array_roles.LABEL).without}"
    )
  for split in list(archives)[1:]:
    for task in asked.used():
      if task not in archives[split]:
        raise ValueError(
          f"{paths[split]}: {task}: expected an array, as in train.npz, found only"
          f" {sorted(archives[split])}; add it, or {asked.of(task).without}"
        )
    further = [name for name in tasks[split] if name not in (*tasks["train"], array_roles.LABEL)]
    if further and asked.every != "none":
      raise ValueError(
        f"{paths[split]}: {further[0]}: expected the labels of train.npz,"
        f" {', '.join(tasks['train']) or 'none'}, found others; add {further[0]} to train.npz, or leave"
        " it out here"
      )
  return asked


def spare_classes(
  train: Found, held_out: np.ndarray, paths: Mapping[str, pathlib.Path], asked: Asked
) -> np.ndarray:
  """Returns what is to be held out of training, bool[examples], of a draw.

  Of several tasks, examples of classes all of whose examples were drawn stay in training; of several
  labels an example, those with a 1 (or 0) that no other example of training has.

  Raises:
    ValueError: nothing is left to hold out, or labels are not what was asked for.
  """
  tasks = asked.used()
  for task in tasks:
    label = train[task]
    kind = array_labels.find_kind(f"{paths['train']}: {task}", label, asked.of(task))
    if kind == "classes" and len(tasks) > 1:
      held_out = held_out & np.isin(label, label[~held_out]).reshape(len(label))
    if kind == "multilabel":
      kept = label[~held_out]
      constant = (kept == kept[0]).all(axis=0)
      held_out = held_out & ~(label != kept[0])[:, constant].any(axis=1)
  if not held_out.any():
    raise ValueError(
      f"{paths['train']}: expected examples to hold out for validation, found that each is the only one"
      " of a class; write validation.npz"
    )
  return held_out


def find(
  paths: Mapping[str, pathlib.Path], found: Mapping[str, Found], asked: Asked
) -> dict[str, Task]:
  """Says what the labels of every task that is used are, by those of training.

  Raises:
    ValueError: that is not beyond doubt, or not what was asked for; the message names file and array.
  """
  tasks = {}
  for name in asked.used():
    said, label, where = asked.of(name), found["train"][name], f"{paths['train']}: {name}"
    kind, classes, remark = array_labels.find_kind(where, label, said), (), ""
    if kind == "classes":
      classes = array_labels.classes_of(where, label, said)
    if kind == "regression":
      labels = {split: arrays[name] for split, arrays in found.items()}
      remark = array_labels.ask_about_numbers(paths, name, labels, said)
    tasks[name] = Task(kind, classes, remark)
  return tasks


def choose(name: str, tasks: Mapping[str, Task]) -> str:
  """Returns the task that methods which learn from labels learn; "": nobody has said which.

  Args:
    name: `config.data.task`; "": `label`, or the only one.
    tasks: of `find`.

  Raises:
    ValueError: there is no such task.
  """
  if name and name not in tasks:
    raise ValueError(
      f"config.data.task: expected one of the labels, {', '.join(tasks) or 'of which there are none'},"
      f" found {name!r}; leave it out, or name one"
    )
  only = next(iter(tasks)) if len(tasks) == 1 else ""
  return name or (array_roles.LABEL if array_roles.LABEL in tasks else only)


def encode(
  paths: Mapping[str, pathlib.Path],
  tasks: Mapping[str, Task],
  found: dict[str, Found],
  asked: Asked,
) -> dict[str, object]:
  """Turns labels into what is learned, in place, and returns facts.

  Classes become numbers int32[examples], several labels int32[examples, labels], numbers to predict
  float32[examples, outputs].

  Raises:
    ValueError: a split has labels that do not fit training's.
  """
  if not tasks:
    return {array_roles.LABEL: "none: pre-training, there is nothing to probe"}
  facts: dict[str, object] = {}
  for name, task in tasks.items():
    if task.kind == "classes":
      facts |= _encode_classes(paths, name, tasks, found, asked)
    elif task.kind == "multilabel":
      facts |= _encode_multilabel(paths, name, found)
    else:
      said = asked.of(name)
      numbers = array_remarks.describe_numbers(
        f"{paths['train']}: {name}", found["train"][name], said
      )
      for arrays in found.values():
        arrays[name] = arrays[name].astype(np.float32).reshape(len(arrays[name]), -1)
      facts[name] = "; ".join(filter(None, (numbers, task.remark)))
  return facts


def _encode_classes(paths, name: str, tasks, found: dict[str, Found], asked: Asked):
  """Turns classes into their numbers; leaves out what training lacks, or refuses it, see above."""
  classes, said = tasks[name].classes, asked.of(name)
  left_out = {}
  for split, arrays in found.items():
    where = f"{paths[split]}: {name}"
    number = array_labels.encode(where, arrays[name], classes, said)
    unknown = arrays[name][number < 0]
    if len(unknown) and len(tasks) > 1:
      raise ValueError(
        f"{where}: expected classes that occur in training, found others in"
        f" {array_labels.describe_unknown(unknown)}; leave these examples out of the archive (of several"
        f" tasks none is left out here: the others would be scored on fewer), or {said.without}"
      )
    if len(unknown):
      left_out[split] = array_labels.describe_unknown(unknown)
    found[split] = array_split.take(arrays | {name: number}, number >= 0)
  facts: dict[str, object] = {name: f"{len(classes)} classes"}
  if len(classes) <= _CLASSES_COUNTED:
    facts[f"examples_per_class{_of(name)}"] = {
      split: array_labels.count(arrays[name], classes) for split, arrays in found.items()
    }
  return facts | ({"left out, of classes that training lacks": left_out} if left_out else {})


def _encode_multilabel(paths, name: str, found: Mapping[str, Found]) -> dict[str, object]:
  """Turns 0 and 1 into int32[examples, labels]."""
  for split, arrays in found.items():
    array_labels.require_zero_one(f"{paths[split]}: {name}", arrays[name])
    arrays[name] = arrays[name].astype(np.int32)
  shares = {split: arrays[name].mean(axis=0) for split, arrays in found.items()}
  width = len(shares["train"])
  facts: dict[str, object] = {name: f"{width} labels, any of which an example may have"}
  if width <= _CLASSES_COUNTED:
    facts[f"share_per_label{_of(name)}"] = {
      split: [round(float(x), 4) for x in own] for split, own in shares.items()
    }
  return facts


def _of(name: str) -> str:
  return "" if name == array_roles.LABEL else f" of {name}"


def sizes(tasks: Mapping[str, Task], train: Found, kind: str) -> dict[str, int]:
  """Returns task -> how many classes, labels or outputs the encoded ones have, of a kind."""
  return {
    name: len(task.classes) if kind == "classes" else train[name].shape[1]
    for name, task in tasks.items()
    if task.kind == kind
  }
