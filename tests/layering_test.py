import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# What a part of the package may import of the others; itself always.
ALLOWED = {
  "fields": set(),
  "losses": set(),
  "protocols": set(),
  "masking": set(),
  "stopping": set(),
  "parallel": {"stopping"},
  "metrics": set(),
  "models": {"fields", "masking"},
  "trial": set(),
  "data": {"fields", "protocols", "trial"},
  "methods": {"fields", "losses", "masking", "models", "data", "parallel"},
  "evaluators": {"data", "fields", "methods", "metrics", "losses", "protocols"},
}


def imports(file):
  """Names of first-party modules that a file imports, as (top level, part)."""
  for node in ast.walk(ast.parse(file.read_text())):
    names = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
      top, *rest = name.split(".")
      yield top, rest[0] if rest else None


def part_files(part):
  folder = ROOT / "synjax" / part
  return sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_parts_below_it(part):
  for file in part_files(part):
    used = {name for top, name in imports(file) if top == "synjax"} - {part, None}
    assert used <= ALLOWED[part], f"{file} imports {sorted(used - ALLOWED[part])}"


def test_the_library_knows_neither_commands_nor_configs_nor_heavy_frameworks():
  banned = {"launch", "configs", "data_prep", "tests", "absl", "torch", "tensorflow", "sklearn"}
  for file in sorted((ROOT / "synjax").rglob("*.py")):
    used = {top for top, _ in imports(file)} & banned
    assert not used, f"{file} imports {sorted(used)}"


def test_a_method_that_reads_the_progress_says_what_makes_it_follow_the_length():
  read = {f for f in part_files("methods") if "info.progress" in f.read_text()}
  said = {f for f in part_files("methods") if "def follows_length" in f.read_text()}
  assert read and read == said


def test_configs_import_no_model_code():
  for file in sorted((ROOT / "configs").rglob("*.py")):
    assert not {top for top, _ in imports(file)} & {"synjax", "launch", "jax", "flax"}, file


def test_no_module_is_called_utils():
  # Not what CI's environments beside them hold.
  ours = ("synjax", "configs", "launch", "data_prep", "tests")
  assert not [f for folder in ours for f in (ROOT / folder).rglob("*utils*.py")]


def test_one_method_is_read_in_at_most_a_dozen_files():
  run = {
    "launch/train.py", "synjax/train.py", "synjax/train_state.py", "synjax/optim.py",
    "synjax/parallel.py", "synjax/data/pipeline.py", "synjax/methods/base.py",
    "synjax/models/multimodal.py", "synjax/models/fusion.py",
  }  # fmt: skip
  own = {"synjax/methods/infmasking.py", "synjax/methods/comm.py", "synjax/losses/masked_view.py"}
  assert len(run | own) <= 12
  for name in run | own:
    assert (ROOT / name).exists(), name
