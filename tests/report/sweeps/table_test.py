"""Tables of sweeps against averages worked out by hand."""

import csv
import importlib
import json

import numpy as np
import pytest
from scipy import stats

from configs.sweeps import num_views, pid_point, pid_simplex, spurious_xor
from synjax.report import sweeps
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from synjax.sweeps.file import Hyper
from tests.report.sweeps.folders import (
  DESCRIPTION,
  cells,
  overrides,
  value,
  write,
)
from tests.report.sweeps.plots.journals import write_journal
from tests.sweeps.pretend import Trainer, expand, strengths


def test_the_table_averages_seeds_and_shows_reference_values(tmp_path):
  path = sweeps.write_sweep_report(write(tmp_path, overrides(), value), DESCRIPTION)
  header, _, *rows = cells(path)
  assert header == [
    "arm", "data.strength", "checkpoint", "n", "accuracy (%), mean ± std", "s.e.", "reference"
  ]  # fmt: skip
  assert rows[0] == ["a", "0.0", "best", "3", "84.0 ± 5.3", "3.06", "-"]
  assert rows[1] == ["a", "0.0", "last", "3", "42.0 ± 2.6", "1.53", "-"]
  assert rows[2] == ["a", "1.0", "best", "3", "74.0 ± 5.3", "3.06", "75.0"]
  assert rows[3][2] == "last" and rows[3][-1] == "-"  # the reference is of one of the two
  reference = [DESCRIPTION["reference"][0] | {"which": "last"}]
  again = sweeps.write_sweep_report(path.parent, DESCRIPTION | {"reference": reference})
  assert [row[-1] for row in cells(again)[4:6]] == ["-", "75.0"]
  assert len(rows) == 8
  text = path.read_text()
  assert "12 of 12 rows done." in text
  assert "Table 1" in text
  assert "(curve.png)" in text


def test_a_sweep_that_still_runs_is_reported_as_far_as_it_is(tmp_path):
  folder = write(
    tmp_path, overrides(), value,
    done=lambda o: o["arm"] == "a" and o["seed"] < 2, failed=lambda o: o["arm"] == "b",
  )  # fmt: skip
  text = sweeps.write_sweep_report(folder, DESCRIPTION).read_text()
  assert "4 of 12 rows done, 6 failed." in text
  assert "2 of 3" in text
  assert "not finite" in text
  assert "000000000006" in text
  nothing = write(tmp_path / "new", overrides(), value, done=lambda o: False)
  text = sweeps.write_sweep_report(nothing, DESCRIPTION).read_text()
  assert "0 of 12 rows done." in text
  assert "No values (yet) for the plot curve" in text


def test_fields_that_the_arm_decides_are_no_columns(tmp_path):
  path = sweeps.write_sweep_report(write(tmp_path, overrides(), value), {})
  assert "method.name" not in cells(path)[0]
  assert "data.strength" in cells(path)[0]


def test_what_selects_is_shown_of_the_last_step_too(tmp_path):
  folder = write(tmp_path, Hyper.product([[{"optim.lr": 0.1}], [{"seed": 0}]]), lambda o: {})
  entry = json.loads((folder / "rows.jsonl").read_text())
  entry |= {"best": {"test/t/mse": 0.1}, "last": {"test/t/mse": 0.2}}
  entry |= {"best_value": 0.9, "last_value": 0.7, "select_metric": "val/mean/macro_accuracy"}
  (folder / "rows.jsonl").write_text(json.dumps(entry) + "\n")
  _, _, best, last = cells(sweeps.write_sweep_report(folder, {}))
  assert (best[3], last[3]) == ("90.0", "70.0")
  with (folder / "rows.csv").open() as file:
    (row,) = csv.DictReader(file)
  assert (row["best_value"], row["last_value"]) == ("0.9", "0.7")


def test_the_default_table_has_what_differs_what_selects_n_and_the_test_scores(tmp_path):
  folder = write(tmp_path, Hyper.product([[{"optim.lr": 0.1}], [{"seed": 0}]]), lambda o: {})
  entry = json.loads((folder / "rows.jsonl").read_text())
  scores = {"test/shared/mse": 0.04, "test/shared/probe_cost": 1e3, "test/shared/r2": 0.5}
  scores |= {"test/synergy/macro_accuracy": 0.8, "test/synergy/accuracy": 0.7}
  scores |= {
    f"test/synergy/macro_accuracy_{end}": 0.8 + d for end, d in (("low", -0.1), ("high", 0.1))
  }
  entry |= {"best": scores, "last": scores, "seconds": 2.5, "stack_seconds": 10.0, "stack": 4}
  entry |= {"best_value": 0.9, "select_metric": "val/mean/macro_accuracy"}
  (folder / "rows.jsonl").write_text(json.dumps(entry) + "\n")
  path = sweeps.write_sweep_report(folder, {})
  header, _, best, last = cells(path)
  assert header == [
    "optim.lr", "checkpoint", "n", "val/mean/macro_accuracy, mean ± std [95 %]",
    "test/shared/mse, mean ± std [95 %]", "test/synergy/macro_accuracy, mean ± std [95 %]",
  ]  # fmt: skip
  assert best == ["0.1", "best", "1", "90.0", "0.04", "80.0 [70.0, 90.0]"]
  # What selects is not known of the last step in rows of older versions, and n/a where it was not scored.
  assert last[3:5] == ["n/a", "0.04"]
  with (folder / "rows.csv").open() as file:
    (row,) = csv.DictReader(file)
  assert (row["best/test/shared/probe_cost"], row["best/test/shared/r2"]) == ("1000.0", "0.5")
  assert (row["seconds"], row["stack_seconds"]) == ("2.5", "10.0")


def test_of_seeds_the_default_table_has_students_interval_of_what_selects_alone(tmp_path):
  folder = write(tmp_path, Hyper.sweep("seed", range(3)), lambda o: {})
  lines = []
  for line, score in zip((folder / "rows.jsonl").open(), (0.8, 0.82, 0.9), strict=True):
    names = ("test/mean/macro_accuracy", "test/synergy/macro_accuracy", "val/mean/macro_accuracy")
    found = dict.fromkeys(names, score)
    entry = json.loads(line) | {"best": found, "last": found, "last_value": score}
    entry |= {"best_value": score, "select_metric": "val/mean/macro_accuracy"}
    lines.append(json.dumps(entry) + "\n")
  (folder / "rows.jsonl").write_text("".join(lines))
  header, _, row = cells(sweeps.write_sweep_report(folder, {}))
  low, high = stats.t.interval(0.95, 2, 84, stats.sem([80, 82, 90]))
  assert row[2] == row[3] == f"84.0 ± 5.3 [{low:.1f}, {high:.1f}]"
  assert header[2:] == [f"{s}/mean/macro_accuracy, mean ± std [95 %]" for s in ("val", "test")]


def test_a_failure_after_a_row_was_done_stands_beside_its_numbers(tmp_path):
  folder = write(tmp_path, overrides(), value)
  row = json.loads((folder / "sweep.json").read_text())["rows"][1]
  with (folder / "rows.jsonl").open("a") as file:
    for error in ("rerun diverged", "=disk"):
      file.write(json.dumps({**row, "time": 99, "status": "failed", "error": error}) + "\n")
  path = sweeps.write_sweep_report(folder, DESCRIPTION)
  text = path.read_text()
  assert "12 of 12 rows done; 2 later tries of done rows failed." in text
  assert cells(path)[2][3:5] == ["3", "84.0 ± 5.3"]
  assert "Later tries that failed" in text and "rerun diverged" in text
  assert "## Failed rows" not in text


def test_rows_that_were_trained_alone_are_named(tmp_path):
  folder = write(tmp_path, overrides(), value)
  entries = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
  entries[3] |= {"instead_of": "abcabcabcabc"}
  (folder / "rows.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries))
  text = sweeps.write_sweep_report(folder, DESCRIPTION).read_text()
  assert "Trained alone, after a row of their stack had diverged or the stack was lost" in text
  assert f"than the others: {entries[3]['id']}." in text
  assert "Code: abc." in text


@pytest.mark.parametrize("module", [spurious_xor, pid_point, pid_simplex])
def test_the_reports_of_the_repositorys_sweeps_can_be_drawn(tmp_path, module):
  module = importlib.reload(module)
  rows = module.get_hyper(Hyper, *([0.25] if module is pid_simplex else []))
  metrics = module.get_report()["metrics"]
  random = np.random.default_rng(0)
  measured = lambda o: {name: tuple(random.uniform(0.5, 1, 2)) for name in metrics}  # noqa: E731
  text = sweeps.write_sweep_report(write(tmp_path, rows, measured), module.get_report()).read_text()
  for plot in module.get_report()["plots"]:
    assert (tmp_path / f"{plot['name']}.png").read_bytes().startswith(b"\x89PNG")
    assert f"({plot['name']}.png)" in text
  assert "Reference: " in text


def test_a_default_table_shows_what_selects_and_the_tests_and_only_fractions_in_percent(tmp_path):
  rows = expand(strengths())
  found = {"val/label/accuracy": 0.5, "test/label/accuracy": 0.25, "test/label/cost": 0.04}
  found |= {"test/label/cross_entropy": 0.7, "test/without_a/label/accuracy": 0.3}

  def train(*args):
    result = Trainer()(*args)
    return result | {"rows": [row | {"best": found, "last": found} for row in result["rows"]]}

  journal = sweep_journal.Journal(tmp_path)
  journal.declare(rows)
  sweep_run.run(plan.group(rows), journal, train)
  text = sweeps.write_sweep_report(tmp_path, {}).read_text()
  assert "test/label/accuracy" in text and "25.0" in text
  assert "cost" not in text and "without_a" not in text
  assert "without_a" in (tmp_path / "rows.csv").read_text().splitlines()[0]
  costs = {"metrics": {"test/label/cost": "cost"}}
  assert "0.04" in sweeps.write_sweep_report(tmp_path, costs).read_text()


def test_the_report_has_every_task_and_cost_in_its_table(tmp_path):
  rows = Hyper.sweep("method.num_views", (1, 2))
  path = sweeps.write_sweep_report(
    write_journal(tmp_path, rows, lambda row: 0.5), num_views.get_report()
  )
  lines = [line for line in path.read_text().splitlines() if line.startswith("| ")]
  cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
  assert cells[0] == [
    "method.num_views", "checkpoint", "n", "shape (%), mean ± std", "s.e.",
    "synergy (%), mean ± std", "s.e.", "time a step (ms)", "temporary memory of a step (MiB)",
  ]  # fmt: skip
  assert cells[4][:4] == ["2", "best", "1", "50.0 [40.0, 55.0]"]
  assert cells[4][-2:] == ["4", "2"]
  assert all((tmp_path / f"{name}.png").exists() for name in ("num_views", "num_views_last"))
  assert "(1 in one program)" in path.read_text()


def test_a_report_before_the_first_row_and_of_rows_without_costs(tmp_path):
  write_journal(tmp_path, [{"method.num_views": 1}], lambda row: 0.5)
  entry = json.loads((tmp_path / "rows.jsonl").read_text())
  entry["seconds_per_step"] = entry["program_bytes"] = None
  (tmp_path / "rows.jsonl").write_text(json.dumps(entry) + "\n")
  text = sweeps.write_sweep_report(tmp_path, num_views.get_report()).read_text()
  assert "| n/a | n/a |" in text
  (tmp_path / "rows.jsonl").unlink()
  text = sweeps.write_sweep_report(tmp_path, num_views.get_report()).read_text()
  assert "No values (yet) for the plot num_views." in text
