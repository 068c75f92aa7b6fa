from synjax.report.comparison import Column, Comparison
from synjax.report.comparison_sections import comparison_sections
from synjax.report.sections import Points, Table
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
  others = (entrant("C", B[:1], start=4), entrant("D", B, start=100))
  _, paired = tables(entrant("A", A), entrant("B", B, start=3), *others)
  # .60 - .85 and .62 - .83: mean -23, std 2.828, half an interval 12.706 x 2.828 / sqrt(2) = 25.4.
  assert paired.rows == [
    ["A", "reference"], ["B", "-23.0 [-48.4, +2.4] (2)"], ["C", "-23.0 (1)"], ["D", "n/a"]
  ]  # fmt: skip


def points(*entrants):
  sections = comparison_sections(Comparison(entrants, [LABEL], ("label",)))
  return [point for s in sections if isinstance(s, Points) for point in s.points]


def test_a_method_with_one_seed_left_is_neither_bold_nor_what_others_are_compared_with():
  entrants = (
    entrant("A", A), entrant("B", B), entrant("C", [0.91], ends={"low": 0.89, "high": 0.93})
  )  # fmt: skip
  scores, paired = tables(*entrants)
  assert not any("**" in row[2] for row in scores.rows)
  assert [row[1] for row in paired.rows] == ["reference", "-20.0 [-24.9, -15.1] (5)", "+11.0 (1)"]
  assert points(*entrants) == ["The best is sought on seeds 0 to 4, of A, B; not of C (has 0)."]
  assert points(*entrants[:2]) == ["The best is sought on seeds 0 to 4, of all methods."]
  undecided = points(entrant("A", A), entrant("B", B, start=7))
  assert undecided == [
    "No method is the best: they share fewer than two seeds: A (has 0 to 4), B (has 7 to 11)."
  ]
