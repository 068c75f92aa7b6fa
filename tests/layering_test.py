import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parent.parent
# What a part of the package may import of the others; itself always. The longest name that fits counts.
ALLOWED = {
  "config.durations": set(),
  "config.protocols": set(),
  "data.fields": set(),
  "losses": set(),
  "masking": set(),
  "workdir.stopping": set(),
  "workdir.json_files": set(),
  "workdir.scores": set(),
  "workdir.safe_paths": set(),
  "workdir": {
    "config.durations", "config.protocols", "workdir.json_files", "workdir.scores", "workdir.stopping",
  },
  "parallel.keys": set(),
  "parallel": {"parallel.keys", "workdir.stopping"},
  "workdir.checkpoint": {"parallel", "workdir", "workdir.stopping"},
  "workdir.disk_cache": {"workdir", "workdir.json_files"},
  "models": {"data.fields", "masking"},
  "trial": set(),
  "data": {
    "config.protocols", "data.fields", "trial", "workdir.disk_cache", "workdir.json_files",
    "workdir.safe_paths", "workdir.scores",
  },
  "methods": {"data", "data.fields", "losses", "masking", "models", "parallel"},
  "evaluators": {
    "config.durations", "config.protocols", "data", "data.fields", "methods", "parallel", "trial",
    "workdir",
    "workdir.scores",
  },
  "training": {
    "config.durations", "data", "data.fields", "evaluators", "methods", "parallel", "trial",
    "workdir", "workdir.checkpoint", "workdir.stopping",
    "workdir.scores",
  },
  "training.run": {
    "config", "data", "evaluators", "methods", "parallel", "training", "training.feature_cache",
    "training.tower_weights", "trial", "workdir", "workdir.checkpoint",
  },
  "training.sources": {"models", "training", "workdir"},
  "training.tower_weights": {"models", "training"},
  "training.feature_cache": {
    "data", "data.fields", "methods", "models", "parallel", "training.tower_weights",
    "workdir.disk_cache",
  },
  "training.outcome": {"evaluators", "training", "training.run", "trial", "workdir", "workdir.scores"},
  "training.run_log": {
    "config.durations", "evaluators", "parallel", "training", "training.run", "trial", "workdir",
    "workdir.scores",
  },
  "config": {
    "config.durations", "config.protocols", "data", "evaluators", "methods", "models", "training",
    "trial",
  },
  "library": {
    "config", "config.durations", "data", "data.fields", "methods", "models", "parallel", "sweeps",
    "train", "training", "training.run", "trial", "workdir", "workdir.checkpoint", "workdir.json_files",
  },
  "sweeps": {
    "config", "config.durations", "data", "evaluators", "training", "training.sources", "trial",
    "workdir", "workdir.json_files", "workdir.stopping",
    "workdir.scores",
  },
}  # fmt: skip


def imports(file):
  """Dotted names of what a file imports: modules, and names in modules."""
  for node in ast.walk(ast.parse(file.read_text())):
    if isinstance(node, ast.Import):
      yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
      yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top_level(file):
  return {name.split(".")[0] for name in imports(file)}


def part_of(name):
  """The part of the package that a dotted name belongs to, or its first word."""
  words = name.split(".")
  prefixes = [".".join(words[:n]) for n in range(len(words), 0, -1)]
  return next((prefix for prefix in prefixes if prefix in ALLOWED), words[0])


def module_name(file):
  parts = file.relative_to(ROOT / "synjax").with_suffix("").parts
  return ".".join(part for part in parts if part != "__init__")


def part_files(part):
  files = sorted((ROOT / "synjax").rglob("*.py"))
  return [file for file in files if module_name(file) and part_of(module_name(file)) == part]


@pytest.mark.parametrize("part", ALLOWED)
def test_a_part_imports_only_parts_below_it(part):
  assert part_files(part)
  for file in part_files(part):
    used = {
      part_of(name.removeprefix("synjax.")) for name in imports(file) if name.startswith("synjax.")
    }
    wrong = used - {part} - ALLOWED[part]
    assert not wrong, f"{file} imports {sorted(wrong)}"


def test_the_library_knows_neither_commands_nor_configs_nor_heavy_frameworks():
  banned = {"launch", "configs", "data_prep", "tests", "absl", "torch", "tensorflow"}
  # `synjax.fit` takes the settings of methods from a checkout's configs, when it is called.
  allowed = {"library/fitting.py": {"configs"}}
  for file in sorted((ROOT / "synjax").rglob("*.py")):
    used = top_level(file) & banned - allowed.get(str(file.relative_to(ROOT / "synjax")), set())
    assert not used, f"{file} imports {sorted(used)}"


def test_a_method_that_reads_the_progress_says_what_makes_it_follow_the_length():
  read = {f for f in part_files("methods") if "info.progress" in f.read_text()}
  said = {f for f in part_files("methods") if "def follows_length" in f.read_text()}
  assert read and read == said


@pytest.mark.parametrize(
  ("part", "above"),
  [("read", {"write", "datasets"}), ("write", {"datasets"}), ("datasets", set())],
)
def test_parts_of_data_prep_import_only_parts_below_them(part, above):
  files = sorted((ROOT / "data_prep" / part).rglob("*.py"))
  commands = {file.stem for file in (ROOT / "data_prep").glob("*.py")} - {"__init__"}
  assert files and commands
  for file in files:
    used = {name.split(".")[1] for name in imports(file) if name.startswith("data_prep.")}
    assert not used & (above | commands), f"{file} imports {sorted(used)}"


def test_configs_import_no_model_code():
  for file in sorted((ROOT / "configs").rglob("*.py")):
    assert not top_level(file) & {"synjax", "launch", "jax", "flax"}, file


def test_no_module_is_called_utils():
  # Not what CI's environments beside them hold.
  ours = ("synjax", "configs", "launch", "data_prep", "tests")
  assert not [f for folder in ours for f in (ROOT / folder).rglob("*utils*.py")]
