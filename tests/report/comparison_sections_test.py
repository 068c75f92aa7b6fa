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


def test_one_method_has_nobody_to_be_paired_with_and_no_common_seed_no_difference():
  assert len(tables(entrant("A", A))) == 1
  _, paired = tables(entrant("A", A), entrant("B", B, start=100))
  assert paired.rows == [["A", "best"], ["B", "n/a"]]
  _, paired = tables(entrant("A", A), entrant("B", B, start=4))
  assert paired.rows[1] == ["B", "-23.0 (1)"]  # .60 - .83: of one pair there is no interval
