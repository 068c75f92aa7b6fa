"""Which arrays of a user's archive are modalities, which belong to them, and which are refused.

An archive holds modalities under names of the user's choice and fields with fixed names: `label`, further
`label_<task>`, `ids`, `<modality>_length`, `<modality>_present`. Where the config does not say which
modalities to use, every other array must be one beyond doubt: a label that is taken for an input makes a
perfect score.
"""

import difflib
import pathlib
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from synjax.data.npz import Member

LABEL = "label"  # the task that has no name of its own
ENDINGS = ("length", "present")
RESERVED = ("label", "index", "ids", "valid", "source")  # what else a batch holds
KINDS = (
  "[examples, features], [examples, length, features] or uint8 images"
  " [examples, rows, columns, 3 or 1]"
)
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
_TASK = re.compile(rf"{LABEL}_[A-Za-z0-9][A-Za-z0-9_-]*")
_LABEL_WORDS = {
  *("target", "targets", "tgt", "tgts", "class", "classes", "onehot", "truth", "groundtruth", "gt"),
  *("annotation", "annotations", "prediction", "predictions", "logits", "outcome", "lbl", "lbls"),
  "goldstandard",
}
_LABEL_NAMES = {"category", "categories", "cls", "gold"}  # on their own
_BOOK_WORDS = {  # at the end of a name
  *("mask", "masks", "id", "ids", "uid", "uuid", "guid", "idx", "index", "indices"),
  *("length", "lengths", "len", "lens", "seqlen", "lenght", "padding"),
  *("split", "fold", "present", "presence", "missing", "absent", "valid"),
}
_BOOK_FIRST = {"mask", "masks", "id", "ids", "uid", "uuid", "guid", "idx", "padding", "pad"}
_BOOK_NAMES = {  # on their own
  *("subject", "subjects", "participant", "participants", "patient", "patients", "user", "users"),
  *("session", "sessions", "group", "groups", "row", "rows", "date", "timestamp", "timestamps"),
  *("weight", "weights", "filename", "filenames", "attention", "attn"),
}
_SPLITS = {"train", "training", "test", "testing", "val", "validation", "dev", "trainval"}
_FLAGS = {"flag", "flags", "indicator", "indicators"}
_COUNTED = {"steps", "frames", "tokens", "samples", "examples", "rows", "items"}
_EXAMPLES = {
  "sample",
  "samples",
  "example",
  "examples",
  "instance",
  "item",
  "row",
  "record",
  "case",
}
_OWNERS = {  # of ids
  *("clip", "video", "image", "utterance", "utt", "speaker", "subject", "patient", "user"),
  *("session", "group", "file", "segment", "frame"),
}
# After the name of another array: about it.
_ABOUT = {"pres", "pad", "pads", "avail", "available", "flag", "flags", "nan", "nans", "steps"}
# Names that are run together are of these, such as "rowid" or "onehotlabel".
_PIECES = (
  _LABEL_WORDS
  | _BOOK_WORDS
  | _EXAMPLES
  | _OWNERS
  | _SPLITS
  | _COUNTED
  | {"label", "labels", "name", "names", "weight", "weights", "one", "hot", "true", "pred"}
  | {"y", "n", "num", "is", "in"}
)
_ABOUT_LABELS = {"weight", "weights"}
_NEARNESS = 0.8  # of two names, as difflib measures it


class Roles(NamedTuple):
  """What the arrays of an archive are for.

  Attributes:
    modalities: names, in fusion order.
    tasks: arrays of labels, `label` first, then by name.
    ignored: arrays that are not used.
  """

  modalities: tuple[str, ...]
  tasks: tuple[str, ...]
  ignored: tuple[str, ...]


def assign(path: pathlib.Path, members: Mapping[str, Member], chosen: tuple[str, ...]) -> Roles:
  """Says what every array of an archive is for.

  Args:
    path: of the archive, for messages.
    members: its arrays.
    chosen: `config.data.modalities`: those to use, whatever their names look like; the others are
      ignored. (): all that can be modalities; then there must be no array that may be something else.

  Returns:
    The roles.

  Raises:
    ValueError: an array is none of this, or looks like a misspelt field of a modality that is used; the
      message names it and what to do.
  """
  taken = {field for name in members for field in _fields_of(name)} & set(members)
  tasks = tuple(sorted(name for name in members if is_task(name) and name not in chosen))
  fields = ("ids", *tasks)
  others = [name for name in members if name not in taken and name not in fields]
  modalities = chosen or tuple(name for name in others if doubt(members[name], others) is None)
  _check_names(path, members, modalities)
  known = {*fields, *modalities, *(field for name in modalities for field in _fields_of(name))}
  rest = [name for name in members if name not in known]
  for name in modalities:
    _check_fields(path, name, members, rest)
  if chosen:
    return Roles(modalities, tasks, tuple(rest))
  doubts = {
    name: doubt(members[name], others) or "belongs to none of the modalities" for name in rest
  }
  if doubts or not modalities:
    raise ValueError(_refusal(path, members, modalities, doubts))
  return Roles(modalities, tasks, ())


def is_task(name: str) -> bool:
  """Says whether an array's name is one of labels to learn: `label`, or `label_<task>`.

  What ends like a field of a modality, or is about labels (label_mask, label_ids) or another form of them
  (label_onehot, label_logits), is none.
  """
  if name == LABEL:
    return True
  words = _words(name.removeprefix(LABEL))
  about = bool(words) and (words[-1] in _BOOK_WORDS or words[0] in _BOOK_FIRST | _ABOUT_LABELS)
  other_form = not _LABEL_WORDS.isdisjoint([*words, "".join(words)])
  return bool(_TASK.fullmatch(name)) and not about and not other_form


def doubt(member: Member, others: Iterable[str] = ()) -> str | None:
  """Says why an array is not taken for a modality without being asked for; None: it is taken.

  Args:
    member: the array.
    others: names of arrays that it may be about, such as sensor of sensor_pad.
  """
  words = _words(member.name)
  if not _NAME.fullmatch(member.name):
    return "is named with other characters than letters, digits, _ and -"
  if looks_like_a_label(member.name):
    further = "; further labels are called label_NAME, in letters, digits, _ and -, and not after"
    further += " masks, lengths, ids or forms of another label"
    return "looks like a label" + further * member.name.startswith(f"{LABEL}_")
  stem, _, ending = member.name.rpartition("_")
  if _is_bookkeeping(words) or (ending.lower() in _ABOUT and stem in others):
    names = bool({"id", "uid", "uuid", "guid"} & {words[0], words[-1]})
    return "looks like bookkeeping" + " (names of examples are read from an array ids)" * names
  return unusable(member)


def _is_bookkeeping(words: list[str]) -> bool:
  """Says whether a name is one of masks, ids, lengths, weights of examples, marks of splits ..."""
  first, last = words[0], words[-1]
  if len(words) == 1:
    return last in _BOOK_WORDS | _BOOK_FIRST | _BOOK_NAMES
  if last in _FLAGS:
    return words[-2] in _BOOK_WORDS | _SPLITS
  return (
    last in _BOOK_WORDS
    or first in _BOOK_FIRST
    or bool({"attention", "padding"} & {*words} and {"mask", "masks"} & {*words})
    or (first in ("n", "num") and last in _COUNTED)
    or (first in ("is", "in") and last in _SPLITS)
    or (first in _EXAMPLES and last in ("weight", "weights"))
  )


def looks_like_a_label(name: str) -> bool:
  """Says whether a name is one that labels go by: label_2, y, targets, one_hot, ground_truth ..."""
  words = _words(name)
  pairs = [first + second for first, second in zip(words, words[1:], strict=False)]
  return (
    any(word.startswith("label") for word in words)
    or not _LABEL_WORDS.isdisjoint([*words, *pairs])
    or words[:1] == ["y"]
    or (len(words) == 1 and words[0] in _LABEL_NAMES)
  )


def _words(name: str) -> list[str]:
  """Splits a name into words: "trueTarget_2" into ["true", "target"], "rowid" into ["row", "id"]."""
  words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
  return [part for word in words for part in _parts(word) or (word,)]


def _parts(word: str) -> tuple[str, ...] | None:
  """Splits a word that is made of known ones, the longest first; None: it is not."""
  if not word:
    return ()
  for length in range(len(word), 0, -1):
    rest = _parts(word[length:]) if word[:length] in _PIECES else None
    if rest is not None:
      return (word[:length], *rest)
  return None


def unusable(member: Member) -> str | None:
  """Says why an array cannot be a modality, by its shape and dtype; None: it can."""
  if member.dtype.hasobject:
    return (
      f"is {member}: pickled by NumPy, never read (texts: numpy.array(values, dtype=str); sequences of"
      " different lengths: pad them at the end)"
    )
  if member.ndim == 4 and member.dtype == np.uint8 and member.shape[-1] in (1, 3):
    return None
  if member.ndim == 3 and member.dtype == np.uint8:
    return (
      f"is {member}: images without an axis of channels? add it with array[..., None]; of sequences:"
      " array.astype(numpy.float32)"
    )
  if member.ndim == 4:
    return f"is {member}: images are uint8, their channels, 3 or 1, the last axis"
  if member.ndim == 1 and member.dtype.kind in "fiub":
    return f"is {member} (a feature of one number an example: array[:, None])"
  if member.ndim not in (2, 3) or member.dtype.kind not in "fiub":
    return f"is {member}"
  return f"is {member}, without a feature" if 0 in member.shape[1:] else None


def describe(member: Member, padded: bool = False) -> str:
  """Describes a modality in a few words: "sensor [sequence 6 x 3]"."""
  kind = {2: "vector", 3: "padded sequence" if padded else "sequence", 4: "image"}[member.ndim]
  numbers = ", integers taken as numbers" if member.ndim < 4 and member.dtype.kind in "iu" else ""
  return f"{member.name} [{kind} {' x '.join(map(str, member.shape[1:]))}{numbers}]"


def _fields_of(name: str) -> tuple[str, ...]:
  return tuple(f"{name}_{ending}" for ending in ENDINGS)


def _check_names(path: pathlib.Path, members: Mapping[str, Member], modalities) -> None:
  missing = [name for name in modalities if name not in members]
  if missing:
    raise ValueError(f"{path}: expected arrays {missing}, found only {sorted(members)}")
  if len(set(modalities)) < len(modalities):
    raise ValueError(f"config.data.modalities: expected every name once, found {modalities}")
  endings = ("_valid", *(f"_{ending}" for ending in ENDINGS))
  for name in modalities:
    if name in RESERVED or name.endswith(endings) or not _NAME.fullmatch(name):
      raise ValueError(
        f"{path}: {name}: expected another name for a modality: letters, digits, _ and -;"
        f" {', '.join(RESERVED)} and names that end in {', '.join(endings)} are taken"
      )


def _check_fields(
  path: pathlib.Path, modality: str, members: Mapping[str, Member], rest: Iterable[str]
) -> None:
  """Refuses a length of what has none, and arrays that look like a misspelt field of a modality."""
  length = f"{modality}_length"
  if length in members and members[modality].ndim in (2, 4):
    raise ValueError(
      f"{path}: {length}: expected none, for {modality} is {members[modality]}, no sequence [examples,"
      f" length, features]; leave {length} out, or store {modality} as a sequence. (An example without"
      f" {modality}: {modality}_present)"
    )
  sequence = members[modality].ndim == 3
  for field in _fields_of(modality):
    if field in members or (field == length and not sequence):
      continue
    similar = [
      name for name in rest if members[name].ndim == 1 and _looks_like(name, field, modality)
    ]
    if similar:
      means = "steps" if field == length else "True: the example has it"
      raise ValueError(
        f"{path}: {similar[0]}: expected {field} (one an example; {means}), found a name that nothing"
        " uses; rename it, or leave it out of the archive"
      )


def _looks_like(name: str, field: str, modality: str) -> bool:
  """Says whether a name may be meant to be a field, such as text_len or txt_lengths: text_length."""
  if difflib.SequenceMatcher(None, name.lower(), field.lower()).ratio() >= _NEARNESS:
    return True
  stem, _, word = name.lower().rpartition("_")
  words = {"length": ("len", "seqlen", "steps"), "present": ("missing", "absent", "available")}
  ending = field.removeprefix(f"{modality}_")
  close = difflib.SequenceMatcher(None, stem, modality.lower()).ratio() >= _NEARNESS
  return (close or not stem) and word.startswith((*words[ending], ending))


def _refusal(path, members, modalities, doubts: Mapping[str, str]) -> str:
  """Writes the message about arrays that may be no modalities."""
  if not doubts:
    return f"{path}: expected at least one modality, {KINDS}; found only {sorted(members)}"
  found = "; ".join(f"{name} {reason}" for name, reason in doubts.items())
  usable = modalities or tuple(n for n in doubts if unusable(members[n]) is None)
  hint = (
    f'say what is to be used, such as --config.data.modalities="{usable!r}", or leave the rest out'
    if usable
    else f"add a modality, {KINDS}"
  )
  rename = "; labels are read from an array named label"
  rename = rename if LABEL not in members and any(map(looks_like_a_label, doubts)) else ""
  return (
    f"{path}: {next(iter(doubts))}: expected modalities ({KINDS}), label, label_<task>, ids,"
    f" <modality>_length and <modality>_present, found: {found}; {hint}{rename}"
  )
