"""What a user says that labels are: `config.data.label_kind`, of every task or task by task."""

import dataclasses
import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

KINDS = ("classes", "multilabel", "regression", "none")
_FIELD = "config.data.label_kind"


class Said(NamedTuple):
  """What is said of the labels of one task.

  Attributes:
    kind: of `KINDS`; None: nothing, the dtype decides where it leaves no doubt.
    flag: kind -> what to type to say so.
    without: what to do who wants to go on without these labels, for the end of a message.
  """

  kind: str | None
  flag: Callable[[str], str]
  without: str


@dataclasses.dataclass(frozen=True)
class Asked:
  """What the field says.

  Attributes:
    every: kind of every task; None: see `named`.
    named: task -> its kind.
    tasks: of the folder; messages name a task where there are several.
  """

  every: str | None = None
  named: Mapping[str, str] = dataclasses.field(default_factory=dict)
  tasks: tuple[str, ...] = ("label",)

  def of(self, task: str) -> Said:
    """Returns what is said of a task."""
    flag = lambda kind: self._flag(task, kind)  # noqa: E731
    alone = self.tasks == (task,)
    without = (
      f"pre-train without labels: {flag('none')}" if alone else f"do without: {flag('none')}"
    )
    return Said(self.every or self.named.get(task), flag, without)

  def used(self) -> tuple[str, ...]:
    """Returns the tasks that are not said to be none."""
    return tuple(task for task in self.tasks if self.of(task).kind != "none")

  def _flag(self, task: str, kind: str) -> str:
    if self.tasks == (task,):
      return f"--{_FIELD}={kind}"
    known = dict.fromkeys(self.tasks, self.every) if self.every else dict(self.named)
    return f"--{_FIELD}=" + ",".join(f"{name}={own}" for name, own in {**known, task: kind}.items())


def parse(text: str | None, tasks: Sequence[str]) -> Asked:
  """Reads the field: None, a kind for all tasks, or "task=kind,task=kind" for some.

  Args:
    text: `config.data.label_kind`.
    tasks: of the folder.

  Raises:
    ValueError: a kind or a task is unknown, or a task is named twice.
  """
  tasks = tuple(tasks)
  if text is None or text in KINDS:
    return Asked(text, {}, tasks)
  named: dict[str, str] = {}
  for part in text.split(",") if "=" in text else [text]:
    task, _, kind = (word.strip() for word in part.partition("="))
    if kind not in KINDS:
      wrong = f", in which {part.strip()!r} names no kind" if "=" in text else ""
      raise ValueError(
        f"{_FIELD}: expected one of {KINDS}, or task by task such as"
        f" {','.join(f'{name}=classes' for name in tasks) or 'label=classes'}, found {text!r}{wrong}"
      )
    if task not in tasks or task in named:
      found, near = repr(task), difflib.get_close_matches(task, tasks, 1)
      found += " twice" if task in named else f" (did you mean {near[0]}?)" if near else ""
      raise ValueError(
        f"{_FIELD}: expected each of the labels in train.npz at most once, {', '.join(tasks) or 'none'},"
        f" found {found} in {text!r}"
      )
    named[task] = kind
  return Asked(None, named, tasks)
