"""How the house is built, measured: python -m tests.house. `house_test.py` asserts the limits.

A tiny run is followed from `train_and_evaluate` to its first loss term: the frames of this project from
`train_and_evaluate` to the method's `loss`, and the files whose functions run while the training step is
traced: views, encoders, fusion, the method, the step.
"""

import ast
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
CODE = ("synjax", "configs", "launch", "data_prep")
OURS = tuple(f"{ROOT / folder}/" for folder in CODE)
LIMITS = {
  "files_of_a_traced_step": 24,
  "frames_above_the_loss": 9,
  "modules_in_synjax": 3,
  "percent_of_functions_over_50_lines": 2.7,
  "lines_of_the_longest_file": 450,
  "seconds_to_import_reports": 2.0,  # of CPU
}
AT_LEAST = {"percent_of_public_arguments_annotated": 95.0}


def sources(folders=CODE):
  return sorted(file for folder in folders for file in (ROOT / folder).rglob("*.py"))


def functions(tree):
  kinds = ast.FunctionDef | ast.AsyncFunctionDef
  return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def shape() -> dict[str, float]:
  """Counts what a look at the files gives."""
  lengths, annotated, all_arguments, longest = [], 0, 0, 0
  for file in sources():
    text = file.read_text()
    tree = ast.parse(text)
    longest = max(longest, text.count("\n"))
    lengths += [node.end_lineno - node.lineno + 1 for node in functions(tree)]
    for arguments in public_arguments(tree):
      all_arguments += len(arguments)
      annotated += sum(argument.annotation is not None for argument in arguments)
  return {
    "modules_in_synjax": len(list((ROOT / "synjax").glob("*.py"))),
    "percent_of_functions_over_50_lines": 100 * sum(n > 50 for n in lengths) / len(lengths),
    "lines_of_the_longest_file": longest,
    "percent_of_public_arguments_annotated": 100 * annotated / all_arguments,
  }


def public_arguments(tree):
  """Yields the arguments of every public function of a module and method of a public class."""
  for owner in [tree, *(n for n in tree.body if isinstance(n, ast.ClassDef))]:
    if isinstance(owner, ast.ClassDef) and owner.name.startswith("_"):
      continue
    for node in owner.body:
      if not isinstance(node, ast.FunctionDef):
        continue
      if node.name.startswith("_") and node.name not in ("__init__", "__call__"):
        continue
      a = node.args
      found = [*a.posonlyargs, *a.args, *a.kwonlyargs]
      yield found[1:] if isinstance(owner, ast.ClassDef) and not is_static(node) else found


def is_static(node):
  return any(getattr(d, "id", "") == "staticmethod" for d in node.decorator_list)


def modules_without_tests():
  """Modules whose test file, tests/FOLDER/MODULE_test.py, is missing."""
  missing = []
  for file in sources(("synjax", "data_prep")):
    inside = file.relative_to(ROOT)
    if inside.parts[0] == "synjax":  # tests/ mirrors what is in it
      inside = inside.relative_to("synjax")
    test = ROOT / "tests" / inside.with_name(f"{inside.stem}_test.py")
    if file.name != "__init__.py" and not test.exists():
      missing.append(str(file.relative_to(ROOT)))
  return missing


def imported_by_reports() -> tuple[float, set[str]]:
  """Imports what makes reports in a fresh process; returns its seconds of CPU and its modules."""
  code = (
    "import synjax.report, launch.report, json, resource, sys; u = resource.getrusage("
    "resource.RUSAGE_SELF); print(json.dumps([u.ru_utime + u.ru_stime, list(sys.modules)]))"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
  )
  seconds, modules = json.loads(done.stdout)
  return seconds, set(modules)


class _Reached(BaseException):
  """The loss is called: there is no need to go on."""


class Trace:
  """Follows the calls of this project's functions until a loss term is computed."""

  def __init__(self):
    self.files: set[str] = set()
    self.frames: list[str] = []

  def __call__(self, frame, event, _):
    if event != "call" or not frame.f_code.co_filename.startswith(OURS):  # of millions of calls
      return
    stack = list(self.stack(frame))
    if any(name == "<module>" for _, name in stack):  # what runs when a module is imported
      return
    file, name = stack[0]
    if file.startswith("synjax/losses/"):
      sys.setprofile(None)
      raise _Reached
    if name == "loss" and file.startswith("synjax/methods/"):
      self.frames = [f"{file}:{name}" for file, name in stack[1:]]
    if any(name == "train_step" for _, name in stack):
      self.files.add(file)

  def stack(self, frame):
    """Yields (file, function) from a frame up to `train_and_evaluate`."""
    while frame is not None:
      if frame.f_code.co_filename.startswith(OURS):
        yield str(pathlib.Path(frame.f_code.co_filename).relative_to(ROOT)), frame.f_code.co_name
        if frame.f_code.co_name == "train_and_evaluate":
          return
      frame = frame.f_back


def trace_run() -> Trace:
  """Trains InfMasking on arrays until its first loss term."""
  import numpy as np

  from configs import arrays
  from synjax import train

  trace, rng = Trace(), np.random.default_rng(0)
  with tempfile.TemporaryDirectory() as folder:
    for split, count in {"train": 64, "validation": 32, "test": 32}.items():
      data = {"a": rng.normal(size=(count, 4)), "b": rng.normal(size=(count, 5, 3))}
      np.savez(f"{folder}/{split}.npz", label=rng.integers(0, 2, count), **data)
    config = arrays.get_config(f"infmasking,{folder}")
    config.num_devices = 1
    with contextlib.suppress(_Reached):
      sys.setprofile(trace)
      try:
        train.train_and_evaluate(config, f"{folder}/run")
      finally:
        sys.setprofile(None)
  return trace


def measure() -> dict[str, float]:
  """Measures everything that has a limit."""
  trace = trace_run()
  return {
    "files_of_a_traced_step": len(trace.files),
    "frames_above_the_loss": len(trace.frames),
    "seconds_to_import_reports": imported_by_reports()[0],
    **shape(),
  }


if __name__ == "__main__":
  os.environ.setdefault("JAX_PLATFORMS", "cpu")
  for what, value in measure().items():
    limit = LIMITS.get(what) or AT_LEAST[what]
    print(f"{what}: {value:g} ({'at most' if what in LIMITS else 'at least'} {limit:g})")
  print("modules without a test of their own:", ", ".join(modules_without_tests()) or "none")
