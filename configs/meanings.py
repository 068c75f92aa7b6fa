"""What the fields of a config mean: the comments beside them, and the table of the methods."""

import pathlib
import re
from collections.abc import Mapping

from configs import methods

_SET = re.compile(r"\s*config\.(?P<field>[\w.]+) = (?P<value>.*?)(?:  # (?P<comment>.*))?$")
_SHARED = ("common.py", "multibench.py")


def of(method: str, file: str = "") -> dict[str, str]:
  """Returns dotted field -> meaning, of those that have one.

  Args:
    method: name of the method, whose own fields are in `methods.METHODS`.
    file: of the config, for fields that the files which all share do not have; "": none.
  """
  folder = pathlib.Path(__file__).parent
  found: dict[str, str] = {}
  for path in ([pathlib.Path(file)] if file else []) + [folder / name for name in _SHARED]:
    found |= _read(path.read_text())
  own = methods.METHODS[method].fields
  return found | {f"method.{name}": field.meaning for name, field in own.items()}


def _read(text: str) -> Mapping[str, str]:
  """Reads the comments of lines that set a field: those beside it, else those before it.

  What is before a group of lines is of all of it, up to one with words of its own.
  """
  found, before, fresh = {}, [], False
  lines = text.splitlines()
  for line, following in zip(lines, [*lines[1:], ""], strict=True):
    words = line.strip()
    if words.startswith("# "):
      before = [*(before if fresh else []), words[2:]]
      fresh = True
      continue
    match = _SET.match(line)
    if match is None:
      before, fresh = [], False
      continue
    fresh = False
    comment = match["comment"]
    if match["value"].strip() == "(":  # the formatter put the value on a line of its own
      comment = following.partition("  # ")[2]
    if comment:
      before = []
    if comment or before:
      found[match["field"]] = (comment or " ".join(before)).strip()
  return found
