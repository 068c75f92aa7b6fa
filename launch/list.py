"""Lists what there is: python -m launch.list methods|datasets|configs|fields CONFIG|runs FOLDER.

CONFIG is what --config takes, such as configs/trifeature.py:infmasking; runs are found in FOLDER and
below.
"""

import ast
import difflib
import importlib
import pathlib
from collections.abc import Callable, Mapping, Sequence

from launch import app, config_fields
from synjax.sweeps import file as sweep_file
from synjax.workdir import files, identity, results

_ROOT = pathlib.Path(__file__).parents[1]
_ABOUT = {
  "methods": "what --config=FILE:METHOD takes",
  "datasets": "what can be trained on, or converted",
  "configs": "what --config=FILE takes",
  "fields": "fields of a config: value, where it differs from the default, meaning",
  "runs": "workdirs in a folder, what they are of and how far",
}


def main(arguments: Sequence[str]) -> None:
  """Prints a list."""
  what, *more = arguments or [""]
  if what not in _ABOUT:
    near = difflib.get_close_matches(what, _ABOUT, n=1)
    raise ValueError(
      f"launch.list: expected one of {', '.join(_ABOUT)}, found {what!r}; type python -m launch.list"
      f" {(near or ['methods'])[0]}"
    )
  needs = {"fields": "CONFIG", "runs": "FOLDER"}.get(what)
  if len(more) != bool(needs):
    raise ValueError(
      f"launch.list {what}: expected {needs or 'nothing more'}, found {' '.join(more) or 'nothing'}; type"
      f" python -m launch.list {what}{f' {needs}' if needs else ''}"
    )
  print(config_fields.align(_LISTS[what](*more)))


def _first_line(file: pathlib.Path) -> str:
  """Returns the first line of a module's docstring; nothing of it is run."""
  return (ast.get_docstring(ast.parse(file.read_text())) or "").partition("\n")[0]


def _methods() -> list[tuple[str, ...]]:
  folder = _ROOT / "synjax/methods"
  found = sorted(folder.glob("*/[a-z]*.py"), key=lambda file: (file.parent.name, file.stem))
  return [(file.stem, file.parent.name, _first_line(file)) for file in found]


def _config_files() -> list[pathlib.Path]:
  """Returns the files of configs/ that --config takes."""
  return [
    file
    for file in sorted((_ROOT / "configs").glob("*.py"))
    if "\ndef get_config(" in file.read_text()
  ]


def _configs() -> list[tuple[str, ...]]:
  return [(f"configs/{file.name}", _first_line(file)) for file in _config_files()]


def _datasets() -> list[tuple[str, ...]]:
  registry = importlib.import_module("data_prep.registry")
  packaged = importlib.import_module("data_prep.datasets.packaged")
  known = {file.stem: _first_line(file).partition(": ")[2] for file in _config_files()}
  rows = [(name, f"configs/{name}.py", known[name]) for name in ("arrays", "trifeature", "xor")]
  for name, entry in registry.DATASETS.items():
    if name not in known:
      rows.append((name, "converted only", f"data_prep.convert from {entry.source}"))
    elif entry.source:
      about = f"{known[name].removesuffix('.')}; data_prep.convert from {entry.source}"
      rows.append((name, f"configs/{name}.py", about))
  for name, one in packaged.DATASETS.items():
    about = f"{one.about.partition('. ')[0].removesuffix('.')}; data_prep.open from {one.package}"
    rows.append((name, "configs/open.py", about))
  return rows


def _fields(name: str) -> list[tuple[str, ...]]:
  try:
    with app.in_words_of_flags({"--config=": ""}):
      config = sweep_file.config_maker(name, {})(None)
  except TypeError as error:  # a file that needs an argument
    raise ValueError(
      f"launch.list fields {name}: expected FILE:METHOD, found no method; type {name}:infmasking"
    ) from error
  return config_fields.describe(config, name, {})


def _runs(folder: str) -> list[tuple[str, ...]]:
  path = files.resolve(folder)
  if not path.is_dir():
    beside = [one.name for one in path.parent.glob("*") if one.is_dir()]
    near = difflib.get_close_matches(path.name, beside, n=1)
    hint = f"did you mean {path.with_name(near[0])}" if near else "give the folder above workdirs"
    raise ValueError(f"launch.list runs {path}: expected a folder, found none; {hint}")
  found = sorted(file.parent for file in path.glob(f"**/{files.CONFIG}"))
  if not found:
    raise ValueError(
      f"launch.list runs {path}: expected workdirs of launch.train in it or below, found none; give the"
      " folder above them"
    )
  return [(str(run.relative_to(path)), *_run(run)) for run in found]


def _run(path: pathlib.Path) -> tuple[str, str, str]:
  """Says what a run is of and how far; damaged files do not stop a list."""
  try:
    config = identity.read_config(path)
    step = identity.newest_step(path)
    finished = (path / files.RESULTS).exists()
    what = f"{config['method']['name']} on {config['data']['name']}"
    if not finished:
      return what, f"at step {step}" if step else "not begun", ""
    found = results.read(path)
    values = [row["best_value"] for row in found["rows"] if "best_value" in row]
    metric = found.get("select_metric", "").removeprefix("-")
    mean = sum(values) / len(values) if values and metric != "last" else None
    return what, "finished", "" if mean is None else f"{metric} {mean:.4g}"
  except (ValueError, OSError) as error:
    return "cannot be read", "", str(error).partition("; ")[0]


_LISTS: Mapping[str, Callable[..., list[tuple[str, ...]]]] = {
  "methods": _methods,
  "datasets": _datasets,
  "configs": _configs,
  "fields": _fields,
  "runs": _runs,
}

if __name__ == "__main__":
  app.run(main, "python -m launch.list methods", arguments=True)
