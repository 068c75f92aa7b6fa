"""The notebooks, executed from their JSON with tiny settings."""

import json
import re
import subprocess
import sys

import pytest

from tests.processes import ROOT, environment

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
TINY = "examples, epochs, methods = 48, 1.0, ('comm',)"
SAID = {  # what a notebook prints a score of
  "own_data": (
    "logistic on raw features",
    "knn on raw features",
    "comm",
  ),
  "which_modality": (
    *("sensor", "table", "noise", "sensor + table", "sensor + noise", "table + noise"),
    *(
      "sensor + table + noise",
      "as they are",
      "sensor of another",
      "table of another",
      "noise of another",
    ),
  ),
}
_RUNNER = """
import json, sys, matplotlib
matplotlib.use("Agg")
notebook, parameters = json.load(open(sys.argv[1])), sys.argv[2]
names = {}
for cell in notebook["cells"]:
  if cell["cell_type"] == "code":
    tagged = "parameters" in cell["metadata"].get("tags", ())
    exec(compile(parameters if tagged else "".join(cell["source"]), cell["id"], "exec"), names)
"""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path, tmp_path):
  (tmp_path / "pyproject.toml").touch()
  folder = tmp_path / "examples"  # where Jupyter starts
  folder.mkdir()
  done = subprocess.run(
    [sys.executable, "-c", _RUNNER, str(path), TINY],
    cwd=folder, env=environment(MPLBACKEND="Agg"), capture_output=True, text=True, timeout=600,
  )  # fmt: skip
  assert done.returncode == 0, done.stderr[-3000:]
  assert not list(folder.iterdir())  # all is written at the root, where configs are
  scores = dict(re.findall(r"^(\w.*?) +([\d.]+)$", done.stdout, re.M))
  assert set(SAID[path.stem]) == set(scores)
  assert all(0 <= float(score) <= 100 for score in scores.values())


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_stored_without_outputs(path):
  cells = json.loads(path.read_text())["cells"]
  code = [cell for cell in cells if cell["cell_type"] == "code"]
  assert len(code) > 2 and not any(cell["outputs"] or cell["execution_count"] for cell in code)


def test_the_notebook_makes_the_data_of_the_readme():
  text = (ROOT / "README.md").read_text()
  section = text.split("## Your own data\n")[1].split("\n## ")[0]
  (readme,) = re.findall(r"```python\n(.*?)```", section, re.S)
  cells = json.loads((ROOT / "examples" / "own_data.ipynb").read_text())["cells"]
  sources = ["".join(cell["source"]) for cell in cells]
  notebook = next(source for source in sources if "np.savez" in source)
  values = "examples = 1024\n" + notebook
  assert _arrays(readme) == _arrays(values)


def _arrays(source):
  """Runs code that saves archives, and returns what it would save."""
  import numpy as np

  saved, savez = {}, np.savez
  np.savez = lambda path, **arrays: saved.setdefault(str(path), arrays)
  try:
    exec(source.replace('pathlib.Path("data/mine")', 'pathlib.Path("/tmp")'), {})
  finally:
    np.savez = savez
  return {p: {n: a.tobytes() for n, a in found.items()} for p, found in saved.items()}
