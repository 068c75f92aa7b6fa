"""Runs and sweeps on one page, by what is in the files."""

import json

import numpy as np
from scipy import stats

from configs import published
from synjax import report
from synjax.report import together
from synjax.report.comparison import Comparison, every_task
from synjax.report.html import render
from tests.report.summary_test import entrant
from tests.report.sweeps.folders import write
from tests.report.workdirs import CHANCE, make_workdir, mark, scores

RUN, ARM = (0.60, 0.70, 0.80), (0.58, 0.69, 0.77)  # synergy, of seeds 42 to 44


def make_sweep(folder, data="f00d"):
  rows = [{"arm": arm, "seed": 42 + i} for arm in ("a", "b") for i in range(3)]
  write(folder, rows, lambda o: {})
  lines = []
  for line in map(json.loads, (folder / "rows.jsonl").read_text().splitlines()):
    arm, seed = line["overrides"]["arm"], line["overrides"]["seed"]
    found = scores(synergy=ARM[seed - 42] - 0.3 * (arm == "b"))
    config = {"method": {"name": "comm"}, "data": {"name": "trifeature"}}
    line |= {"best": found, "last": found, "config": config, "chance": CHANCE, "code": "abc123"}
    line |= {"reads": {"data": data}, "select_metric": "val/mean/macro_accuracy", "best_value": 0.7}
    lines.append(json.dumps(line) + "\n")
  (folder / "rows.jsonl").write_text("".join(lines))
  return folder


def make(tmp_path, **fields):
  best = [{"synergy": value} for value in RUN]
  workdir = make_workdir(tmp_path / "run", (42, 43, 44), best)
  sweep = make_sweep(tmp_path / "mine", **fields)
  return report.write_report([workdir, sweep], tmp_path / "out", published.ROWS)


def test_runs_and_arms_on_equal_data_are_compared_by_equal_seeds(tmp_path):
  path = make(tmp_path)
  text = path.read_text()
  differences = 100 * (np.array(ARM) - np.array(RUN))
  low, high = stats.t.interval(0.95, 2, differences.mean(), stats.sem(differences))
  compared = text[text.index("## Compared") : text.index("## Run 1")]
  rows = [line for line in compared.splitlines() if line.startswith("| mine: a |")]
  assert f"{differences.mean():+.1f} [{low:+.1f}, {high:+.1f}] (3)" in rows[-1]
  first = text.splitlines()[2]
  assert first.startswith("1: infmasking's synergy 70.0 ± 10.0") and "better than mine: b" in first
  page = path.with_name("report.html").read_text()
  assert "compared_1.png" in text and "<svg" in page and "## Sweep mine" in text
  assert 'href="mine/rows.csv"' in page and (tmp_path / "out" / "mine" / "rows.csv").exists()


def test_what_is_on_other_data_is_not_compared(tmp_path):
  text = make(tmp_path, data="other").read_text()
  compared = text[text.index("## Compared") : text.index("## Run 1")]
  assert "mine: a" in compared and "1: infmasking" not in compared
  assert (
    len([line for line in text.splitlines() if "synergy" in line and "chance 50.0" in line]) > 2
  )


def test_two_methods_have_a_figure_and_their_table_once(tmp_path):
  a = make_workdir(tmp_path / "a", (42, 43))
  b = mark(make_workdir(tmp_path / "b", (42, 43), method={"name": "comm"}))
  text = report.write_report([a, b], tmp_path / "out", published.ROWS).read_text()
  assert text.count("Each method minus the best method") == 1 and "compared_1.png" in text
  assert render([], tmp_path)


def test_more_entrants_than_a_figure_has_room_for_are_left_to_their_sweeps(tmp_path):
  entrants = [entrant(f"{'mine' if i else 'other'}: lr={i}", [0.6, 0.7]) for i in range(32)]
  runs = [run for one in entrants for run in one.runs]
  columns = every_task(runs, {"synergy": 0.5})
  one, own = (Comparison(these, columns, {"synergy": 0.5}) for these in (entrants, entrants[1:]))
  (said,) = together.compared_sections([one], tmp_path, tables=True)
  assert said.text.startswith("32 configurations") and not list(tmp_path.iterdir())
  assert together.summary_sections([one]) == []
  assert together.compared_sections([own], tmp_path, tables=True) == []  # one sweep has its own
