"""configs/methods.py is where configs know methods: completely, and nowhere else."""

import ast
import importlib
import pathlib

import pytest

from configs.methods import METHODS, method_config, set_published
from synjax import methods
from synjax.methods import registry

FOLDER = pathlib.Path(importlib.import_module("configs").__file__).parent
FILES = sorted(file for file in FOLDER.rglob("*.py") if file != FOLDER / "methods.py")
TABLES = ("arrays", "mimic", "mosi", "mustard", "trifeature", "urfunny", "vision_touch", "xor")


def texts(node):
  return {leaf.value for leaf in ast.walk(node) if isinstance(leaf, ast.Constant)}


def decisions(tree):
  """What code decides by: comparisons, patterns, and conditions of every kind."""
  for node in ast.walk(tree):
    if isinstance(node, ast.Compare | ast.match_case):
      yield node
    elif isinstance(node, ast.If | ast.IfExp | ast.While):
      yield node.test


def depends_on_a_method(node):
  names = {ast.unparse(n) for n in ast.walk(node) if isinstance(n, ast.Attribute)}
  return bool(texts(node) & set(METHODS)) or any(name.endswith("method.name") for name in names)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_no_other_config_file_decides_by_a_methods_name(file):
  found = [ast.unparse(n) for n in decisions(ast.parse(file.read_text())) if depends_on_a_method(n)]
  assert not found


def test_configs_and_the_library_know_the_same_methods_and_what_they_learn_from():
  assert set(METHODS) == set(registry.METHODS)
  for name, settings in METHODS.items():
    config = method_config(name)
    found = methods.find(type("Config", (), {"method": config}))
    assert found.learns_from_labels == settings.learns_from_labels, name
    assert {f"method.{field}" for field in settings.fields} >= {
      f"method.{field}" for field in found.traced
    }


def test_a_file_of_a_family_holds_one_method(tmp_path, monkeypatch):
  (tmp_path / "none_here.py").write_text("from synjax.methods.base import Method\n")
  monkeypatch.syspath_prepend(tmp_path)
  monkeypatch.setitem(registry.METHODS, "none_here", "none_here")
  config = type("Config", (), {"method": type("Method", (), {"name": "none_here"})})
  with pytest.raises(ValueError, match="none_here.py: expected one class of a Method, found 0"):
    methods.find(config)


def test_every_field_says_what_it_means_in_one_line():
  for settings in METHODS.values():
    for name, field in settings.fields.items():
      assert 5 < len(field.meaning) < 100 and "\n" not in field.meaning, name


def test_a_table_names_methods_and_fields_that_exist():
  for file in TABLES:
    table = importlib.import_module(f"configs.{file}").METHODS
    assert {key.partition(",")[0] for key in table} <= set(METHODS)
    for key, fields in table.items():
      own = {field.removeprefix("method.") for field in fields if field.startswith("method.")}
      assert own <= set(METHODS[key.partition(",")[0]].fields), (file, key)


def test_a_preset_goes_before_the_method_and_a_field_that_is_none_is_refused():
  config = importlib.import_module("configs.common").base_config()
  config.method = method_config("comm")
  table = {"comm": {"optim.lr": 1.0, "model.width": 8}, "comm,a": {"optim.lr": 2.0}}
  set_published(config, table, "comm", "a")
  assert (config.optim.lr, config.model.width) == (2.0, 8)
  set_published(config, table, "infmasking", "a")
  with pytest.raises(ValueError, match="METHODS.*rate"):
    set_published(config, {"comm": {"optim.rate": 1.0}}, "comm")


def test_a_field_that_can_be_none_is_every_configs_own():
  first, second = method_config("synib"), method_config("synib")
  first.num_corrupted = 1
  assert second.num_corrupted is None and method_config("synib").num_corrupted is None
