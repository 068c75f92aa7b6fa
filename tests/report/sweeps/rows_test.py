import csv

import pytest

from synjax.report import sweeps
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import plan
from synjax.sweeps import run as sweep_run
from tests.report.sweeps.folders import (
  ACCURACY,
  DESCRIPTION,
  overrides,
  value,
  write,
)
from tests.sweeps.pretend import Trainer, expand, strengths


def test_rows_csv_has_every_row_with_its_numbers(tmp_path):
  half = write(tmp_path, overrides(), value, done=lambda o: o["arm"] == "a")
  sweeps.write_sweep_report(half, DESCRIPTION)
  with (tmp_path / "rows.csv").open() as file:
    rows = list(csv.DictReader(file))
  assert [row["status"] for row in rows] == ["done"] * 6 + ["missing"] * 6
  assert float(rows[2][f"best/{ACCURACY}"]) == 0.9
  assert float(rows[2][f"last/{ACCURACY}"]) == 0.45
  assert (rows[2]["arm"], rows[2]["seed"], rows[11]["seed"]) == ("a", "2", "2")


def test_no_cell_of_rows_csv_is_a_formula_and_numbers_stay_numbers(tmp_path):
  texts = ["=1+1", "+1", "-1", "@x", "\t=1", "plain", "a=b"]
  rows = [{"arm": text, "=field": -0.5, "seed": -i} for i, text in enumerate(texts)]
  folder = write(tmp_path, rows, lambda o: {"=metric": (-0.25, 0.25)})
  sweeps.write_sweep_report(folder, {"table": ["arm"]})
  with (folder / "rows.csv").open(newline="") as file:
    found = list(csv.DictReader(file))
  assert [row["arm"] for row in found] == [
    "'=1+1", "'+1", "'-1", "'@x", "'\t=1", "plain", "a=b"
  ]  # fmt: skip
  assert [float(row["seed"]) for row in found] == [-i for i in range(len(texts))]
  assert {row["'=field"] for row in found} == {"-0.5"}
  assert {row["best/=metric"] for row in found} == {"-0.25"}


@pytest.mark.parametrize("field", ["sources", "data"])
def test_a_table_never_averages_two_code_versions_or_two_states_of_the_data(tmp_path, field):
  journal = sweep_journal.Journal(tmp_path)
  rows = expand(strengths())
  sweep_run.run(plan.group(rows), journal, Trainer())
  journal.declare(rows)
  sweeps.write_sweep_report(tmp_path, {})
  entry = dict(journal.read()[rows[0].id], time=4e9)
  entry |= {"sources": "old"} if field == "sources" else {"reads": {"data": "old"}}
  journal.append([entry])
  with pytest.raises(ValueError, match="one code version" if field == "sources" else "same data"):
    sweeps.write_sweep_report(tmp_path, {})
