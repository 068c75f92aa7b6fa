import ast
import pathlib

from launch.benchmark import sections, synib


def test_every_function_that_yields_rows_is_a_section():
  folder = pathlib.Path(sections.__file__).parent
  found = {
    (f"launch.benchmark.{file.stem}", node.name)
    for file in folder.glob("*.py")
    for node in ast.parse(file.read_text()).body
    if isinstance(node, ast.FunctionDef) and node.name.endswith("_rows")
  }
  assert found == {(rows.__module__, rows.__name__) for rows in sections.SECTIONS.values()}


def test_synib_against_vanilla_is_counted():
  row = next(synib.synib_rows())
  assert row.what.startswith("PID XOR step") and "fusions more" in row.ratio
