"""Every row of a sweep, and what validation chooses, by what is in the folder."""

import json

import numpy as np

from synjax.report import sweeps
from synjax.report.sections import Explorer
from synjax.report.sweeps import explorer
from synjax.report.sweeps.sweep import Sweep
from synjax.sweeps.file import Hyper
from tests.report.sweeps.folders import write

RATES = (0.1, 1.0, 10.0)
VALIDATION = {0.1: (0.6, 0.8), 1.0: (0.75, 0.75), 10.0: (0.9, 0.1)}  # of seeds 0 and 1
TEST = {0.1: (0.3, 0.2), 1.0: (0.4, 0.6), 10.0: (0.9, 0.9)}


def folder(path, failed=lambda o: False, **more):
  fixed = {"arm": "a", "data.name": "d", "optim.name": "sgd"}
  rows = Hyper.product([[fixed], Hyper.sweep("optim.lr", RATES), Hyper.sweep("seed", (0, 1))])
  write(path, [row | more for row in rows], lambda o: {}, failed=failed)
  lines = []
  for line in map(json.loads, (path / "rows.jsonl").read_text().splitlines()):
    if line["status"] == "done":
      rate, seed = line["overrides"]["optim.lr"], line["overrides"]["seed"]
      scores = {"test/t/macro_accuracy": TEST[rate][seed]}
      scores |= {"test/t/macro_accuracy_low": 0.0, "test/t/macro_accuracy_high": 1.0}
      line |= {"best": scores, "last": scores, "best_value": VALIDATION[rate][seed]}
      line |= {"select_metric": "val/t/macro_accuracy"}
    lines.append(json.dumps(line) + "\n")
  (path / "rows.jsonl").write_text("".join(lines))
  return path


def test_every_row_has_what_tells_it_apart_and_its_error(tmp_path):
  failed = lambda o: (o["optim.lr"], o["seed"]) == (10.0, 1)  # noqa: E731
  sweep = Sweep(folder(tmp_path, failed), {})
  (_, table) = explorer.row_sections(sweep)
  assert isinstance(table, Explorer) and table.file == "rows.csv"
  names = ["optim.lr", "seed", "status", "val/t/macro_accuracy", "test/t/macro_accuracy"]
  assert table.header == [*names, "seconds", "id"]
  assert table.axes == ["optim.lr", "test/t/macro_accuracy", "val/t/macro_accuracy"]
  assert table.rows[0][:5] == ["0.1", "0", "done", "60.0", "30.0 [0.0, 100.0]"]
  assert table.rows[5][:4] == ["10", "1", "failed: not finite", "n/a"]
  assert len(table.rows) == len(RATES) * 2


def test_the_best_mean_by_validation_is_in_sentence_and_table(tmp_path):
  path = sweeps.write_sweep_report(folder(tmp_path), {})
  best = max(RATES, key=lambda rate: np.mean(VALIDATION[rate]))
  test = 100 * np.array(TEST[best])
  text = path.read_text()
  said = f"is optim.lr={best:g}: val/t/macro_accuracy 75.0, test/t/macro_accuracy"
  measured = f"{test.mean():.1f} ± {test.std(ddof=1):.1f} [0.0, 100.0]"
  assert (
    f"Of 3 configurations the best by validation, mean over 2 seeds, {said} {measured}." in text
  )
  assert f"| a | 3 | optim.lr={best:g} | 75.0 | {measured} |" in text
  page = (tmp_path / "report.html").read_text()
  assert page.count("explorer") > 1 and "Best by validation" in page


def test_scores_on_different_data_are_not_compared(tmp_path):
  path = folder(tmp_path)
  content = json.loads((path / "sweep.json").read_text())
  for i, row in enumerate(content["rows"]):
    row["overrides"]["data.strength"] = i
  (path / "sweep.json").write_text(json.dumps(content))
  sweep = Sweep(path, {})
  assert explorer.summary(sweep) == explorer.best_sections(sweep) == []
