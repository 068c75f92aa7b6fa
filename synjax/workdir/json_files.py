"""Every JSON file of ours is read here: checked against what it has to hold, refused in one line.

What a file has to hold is a nested value of Python, its schema:

* `int`, `float` (also whole numbers), `str`, `bool`, `dict`, `list`: a value of this type; `None`: null;
* a text: this very text;
* a tuple: one of several;
* `[schema]`: a list of such values;
* a dict: an object with these fields; a name that ends in "?" may be missing, and `...` stands for the
  fields that are not named. Other fields are free.
"""

import json
import logging
import pathlib
from collections.abc import Mapping
from typing import Any

logger = logging.getLogger("synjax")

SCORES = {...: (float, None)}  # null: a number that does not exist
TEXT = (str, None)
# Of config.json: what readers use without asking. A run's own fields are checked when it is built.
CONFIG_FIELDS = {
  "method": {"name": str},
  "data": {"name": str},
  "seed": int,
  "num_seeds?": int,
  "protocol?": str,
  **{f"{name}?": dict for name in ("optim", "model", "probe")},
  **{
    f"{name}_{unit}?": (float, None)
    for name in ("total", "log", "eval", "checkpoint")
    for unit in ("steps", "epochs")
  },
  "evaluators?": [str],
  "select_metric?": TEXT,
  "trials?": [{"seed": int, ...: (float, bool, None)}],
}
_MAX_DEPTH = 64
_NAMES = {
  int: "a whole number",
  float: "a number",
  str: "a text",
  bool: "true or false",
  dict: "an object",
  list: "a list",
  None: "null",
}


def parse(text: str) -> Any:
  """Reads JSON text.

  Raises:
    ValueError: it is none, or nests too deep; the message says what was found, in a few words.
  """
  try:
    content = json.loads(text)
  except RecursionError:
    raise ValueError("lists and objects nested too deep") from None
  except ValueError as error:
    found = f"no JSON ({error})" if text.strip() else "an empty file"
    raise ValueError(found) from None
  if text.count("[") + text.count("{") > _MAX_DEPTH:
    _require_shallow(content)
  return content


def _require_shallow(content: Any) -> None:
  layer = [content]
  for _ in range(_MAX_DEPTH):
    inner = [v.values() if isinstance(v, dict) else v for v in layer if isinstance(v, dict | list)]
    layer = [value for values in inner for value in values]
    if not layer:
      return
  raise ValueError("lists and objects nested too deep")


def mismatch(value: Any, schema: Any, where: str = "") -> str:
  """Returns how a value differs from a schema, "where: expected ..., found ..."; "": it does not."""
  if isinstance(schema, tuple):
    found = [mismatch(value, part, where) for part in schema]
    objects = isinstance(value, dict) and isinstance(schema[-1], dict)
    return "" if "" in found else found[-1] if objects else _say(where, _name(schema), value)
  if isinstance(schema, dict) and isinstance(value, dict):
    return _mismatch_of_fields(value, schema, where)
  if isinstance(schema, list) and isinstance(value, list):
    found = (mismatch(part, schema[0], f"{where}[{i}]") for i, part in enumerate(value))
    return next(filter(None, found), "")
  return "" if _is(value, schema) else _say(where, _name(schema), value)


def _mismatch_of_fields(value: Mapping[str, Any], schema: Mapping[Any, Any], where: str) -> str:
  named = {name.removesuffix("?"): name for name in schema if name is not ...}
  for name, key in named.items():
    field = f"{where}.{name}".lstrip(".")
    if name not in value and not key.endswith("?"):
      return f"{field}: expected {_name(schema[key])}, found no such field"
    found = mismatch(value[name], schema[key], field) if name in value else ""
    if found:
      return found
  rest = [name for name in value if name not in named] if ... in schema else []
  found = (
    mismatch(value[name], schema[...], f"{where}.{ascii(name)[1:-1]}".lstrip(".")) for name in rest
  )
  return next(filter(None, found), "")


def _is(value: Any, schema: Any) -> bool:
  if schema is None or isinstance(schema, str):
    return value == schema
  if isinstance(schema, dict | list):  # of another type: the same one was looked into
    return False
  kinds = (int, float) if schema is float else schema
  return isinstance(value, kinds) and (schema is bool or not isinstance(value, bool))


def _name(schema: Any) -> str:
  if isinstance(schema, tuple):
    return " or ".join(map(_name, schema))
  if isinstance(schema, str):
    return repr(schema)
  return _NAMES[type(schema) if isinstance(schema, dict | list) else schema]


def _say(where: str, expected: str, value: Any) -> str:
  return f"{where}: expected {expected}, found {ascii(value)[:60]}".removeprefix(": ")


def like(defaults: Any) -> Any:
  """Returns the schema of values of the same types; null stands for one of any plain type."""
  if isinstance(defaults, Mapping):
    return {f"{name}?": like(value) for name, value in defaults.items()}
  plain = (bool, int, float, str, list)
  if defaults is None:
    return (None, *plain)
  kind = next(kind for kind in plain if _is(defaults, kind))
  return (kind, None)


def read(path: pathlib.Path, what: str, schema: Any, advice: str) -> dict[str, Any]:
  """Reads a file that holds a JSON object.

  Args:
    path: the file.
    what: it is: "config of a run".
    schema: see the module; of an object.
    advice: what to do about a damaged file.

  Returns:
    The object.

  Raises:
    ValueError: no such file, or not what was expected; one line with the file, `what` was expected, what
      was found, and the advice.
    OSError: it cannot be read.
  """
  try:
    if not path.is_file():
      raise ValueError("no such file" if not path.exists() else "something that is no file")
    content = parse(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
      raise ValueError(f"a {type(content).__name__}" if content is not None else "null")
    wrong = mismatch(content, schema)
    if wrong:
      raise ValueError(f"another ({wrong})")
  except ValueError as error:
    raise ValueError(f"{path}: expected the JSON {what}, found {error}; {advice}") from None
  return content


def read_lines(path: pathlib.Path, schema: Any) -> list[dict[str, Any]]:
  """Reads a file to which lines are added while it may be interrupted: one JSON object each.

  Damaged lines are skipped with one warning, which names the file and the lines; without one at the end
  of the file, where an interruption leaves a part of a line.

  Args:
    path: the file; it need not exist.
    schema: of every line, see the module.

  Returns:
    The objects, in order.

  Raises:
    OSError: the file cannot be read.
  """
  try:
    lines = pathlib.Path(path).read_text(encoding="utf-8", errors="replace").split("\n")
  except FileNotFoundError:
    return []
  found, damaged = [], {}
  for position, line in enumerate(lines, 1):
    if not line:
      continue
    try:
      content = parse(line)
      wrong = mismatch(content, schema)
    except ValueError as error:
      wrong = str(error)
    if not wrong:
      found.append(content)
    elif position < len(lines):
      damaged[position] = wrong
  if damaged:
    (first, wrong), more = next(iter(damaged.items())), list(damaged)[1:6]
    others = f", as {len(damaged) - 1} more ({', '.join(map(str, more))}, ...)" if more else ""
    shown = lines[first - 1][:60]
    logger.warning(
      "%s, line %d: damaged, skipped%s: %s (%s)", path, first, others, shown, wrong[:120]
    )
  return found
