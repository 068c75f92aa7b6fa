"""Whole reports, by what is in the files."""

import importlib
import json
import subprocess
import sys

import matplotlib

from configs import published
from synjax import report
from tests.report.workdirs import (
  cells,
  check_png,
  make_embeddings,
  make_workdir,
  mark,
)


def test_report_of_a_finished_run(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43))
  make_embeddings(workdir)
  path = report.write_report([str(workdir)], None, published.ROWS)
  assert path == workdir / "report" / "report.md"
  text = path.read_text()
  assert "* positive rate: 0.0987" in text
  other = cells(text[text.index("| task | checkpoint |") :], "synergy", "best")
  assert other["AUROC (chance 50.0)"] == "87.5 ± 0.0"
  assert other["macro accuracy without image_1"] == "25.0 ± 0.0"
  assert other["k-NN macro accuracy"] == "n/a"
  assert other["chance"] == "50.0"
  for kind in ("losses", "accuracy", "projection"):
    name = f"1_infmasking_{kind}.png"
    assert f"({name})" in text
    check_png(path.parent / name)


def test_a_run_without_labels_has_a_report(tmp_path):
  """It was trained to its end, and nothing of it is scored."""
  workdir = make_workdir(tmp_path / "a", (42, 43))
  rows = json.loads((workdir / "results.json").read_text())["rows"]
  mark(workdir, chance={}, rows=[row | {"best": {}, "last": {}} for row in rows])
  (workdir / "metrics.jsonl").write_text('{"step": 10, "seed": 42, "train/loss": 3.0}\n')
  path = report.write_report([workdir], tmp_path / "out", {})
  text = path.read_text()
  assert "## Run 1: infmasking" in text and "Test split" not in text
  assert "no published numbers" not in text  # of data that have none at all
  assert "\n\n\n" not in text


def test_unfinished_run_has_its_plots_and_says_how_far_it_is(tmp_path):
  workdir = make_workdir(tmp_path / "a", (42, 43), finished=False, steps=(10, 20, 30))
  path = report.write_report([workdir], tmp_path / "out", published.ROWS)
  assert path == tmp_path / "out" / "report.md"
  # 10 epochs, and the evaluation of each epoch's end came first at step 10.
  assert "unfinished, step 30 of 100" in path.read_text()
  assert "±" not in "".join(line for line in path.read_text().splitlines() if "|" in line)
  check_png(path.parent / "1_infmasking_losses.png")
  check_png(path.parent / "1_infmasking_accuracy.png")
  assert not (path.parent / "1_infmasking_projection.png").exists()


def test_plotting_leaves_the_backend_alone(tmp_path, monkeypatch):
  before = matplotlib.get_backend()
  try:
    matplotlib.use("svg")
    for name in [name for name in sys.modules if name.startswith("synjax.report")]:
      monkeypatch.delitem(sys.modules, name)
    fresh = importlib.import_module("synjax.report")
    path = fresh.write_report([make_workdir(tmp_path / "a")], None, {})
    check_png(path.parent / "1_infmasking_losses.png")
    assert matplotlib.get_backend() == "svg"
  finally:
    matplotlib.use(before)


LOADED = """
import importlib, pkgutil, resource, sys
import synjax.report, launch.report, synjax.workdir
used = resource.getrusage(resource.RUSAGE_SELF)
print(used.ru_utime + used.ru_stime)
for module in pkgutil.iter_modules(synjax.workdir.__path__, "synjax.workdir."):
  if module.name != "synjax.workdir.checkpoint":
    importlib.import_module(module.name)
print(*(name for name in ("jax", "flax", "orbax", "scipy", "matplotlib") if name in sys.modules))
"""


def test_reports_and_workdirs_load_neither_jax_nor_what_draws_and_fast():
  done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
  seconds, loaded = done.stdout.splitlines()
  assert loaded == ""
  assert float(seconds) < 4  # of CPU, generous: the machine of the tests is busy


def test_command_prints_the_table(tmp_path):
  make_workdir(tmp_path / "runs" / "a")
  flags = [f"--workdirs={tmp_path}/runs/*", f"--out={tmp_path}/out"]
  command = [sys.executable, "-m", "launch.report", *flags]
  done = subprocess.run(command, capture_output=True, text=True, timeout=300)
  assert done.returncode == 0, done.stderr
  assert "| 1: infmasking | best | clean | 1 |" in done.stdout
  assert f"report: {tmp_path}/out/report.md" in done.stdout
