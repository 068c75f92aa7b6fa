"""What all rows share is said once, and what tells them apart stays in the table."""

from synjax.report import said_once
from synjax.report.sections import Points, Table, Text

HEADER = ["run", "seeds", "data", "score"]


def test_columns_that_are_the_same_become_a_sentence():
  rows = [["a", "3", "x", "1"], ["b", "3", "y", "1"]]
  assert said_once.sections(HEADER, rows, ("seeds", "data")) == [
    Text("Of all rows: seeds 3."),
    Table(["run", "data", "score"], [["a", "x", "1"], ["b", "y", "1"]]),  # scores always stay
  ]
  different = [["a", "3", "x", "1"], ["b", "4", "y", "1"]]
  assert said_once.sections(HEADER, different, ("seeds", "data")) == [Table(HEADER, different)]


def test_facts_of_one_run_are_no_table():
  rows = [["a", "3", "x", "1"], ["b", "3", "y", "1"]]
  assert said_once.facts(HEADER, rows[:1]) == [Points(["seeds: 3", "data: x", "score: 1"])]
  assert said_once.facts(HEADER, rows) == [
    Points(["seeds: 3", "score: 1"]),
    Table(["run", "data"], [["a", "x"], ["b", "y"]]),
  ]
