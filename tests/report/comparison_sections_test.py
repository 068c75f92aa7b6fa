from synjax.report.comparison import Column, Comparison
from synjax.report.comparison_sections import comparison_sections
from synjax.report.sections import Table
from tests.report.comparison_test import A, B, entrant

LABEL = Column("label", ("label",), chance=50.0)


def tables(*entrants, columns=(LABEL,)):
  sections = comparison_sections(Comparison(entrants, columns, ("label",)))
  return [section for section in sections if isinstance(section, Table)]


def test_a_cell_of_fewer_seeds_than_its_row_says_so():
  columns = [Column("label", ("label",)), Column("auroc", ("label",), "auroc")]
  one = entrant("A", A)
  for run in one.runs[:2]:
    run.scores["test/label/auroc"] = 0.5 + run.seed / 10
  (scores,) = tables(one, columns=columns)
  assert scores.rows[0][3].endswith("(2 seeds)")
  assert "seeds)" not in scores.rows[0][2]


def test_pairs_are_of_common_seeds_and_of_fewer_than_two_there_is_no_table():
  assert len(tables(entrant("A", A))) == 1
  assert len(tables(entrant("A", A), entrant("B", B, start=4))) == 1
  others = (entrant("C", B, start=4), entrant("D", B, start=100))
  _, paired = tables(entrant("A", A), entrant("B", B, start=3), *others)
  # .60 - .85 and .62 - .83: mean -23, std 2.828, half an interval 12.706 x 2.828 / sqrt(2) = 25.4.
  assert paired.rows == [
    ["A", "best"], ["B", "-23.0 [-48.4, +2.4] (2)"], ["C", "-23.0 (1)"], ["D", "n/a"]
  ]  # fmt: skip
