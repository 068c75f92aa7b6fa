"""LaTeX of a comparison, read back cell by cell."""

import dataclasses
import re

import numpy as np

from synjax.evaluators.estimators import metrics
from synjax.report import latex
from synjax.report.comparison import Comparison, every_task
from synjax.report.comparison_sections import comparison_sections
from tests.report.summary_test import CHANCE, entrant

VALUES = {"A_1 & co": (0.80, 0.82, 0.84), "B": (0.60, 0.61, 0.62)}


def test_cells_are_means_deviations_and_intervals_and_words_are_letters():
  entrants = [entrant(name, values) for name, values in VALUES.items()]
  runs = [run for one in entrants for run in one.runs]
  text = latex.table(Comparison(entrants, every_task(runs, CHANCE), CHANCE))
  lines = text.splitlines()
  assert lines[0] == r"\begin{tabular}{lrr}" and lines[-1] == r"\end{tabular}"
  assert [line for line in lines if line.endswith("rule")][0] == r"\toprule"
  rows = [line.removesuffix(r" \\").split(" & ") for line in lines if " & " in line]
  assert all(len(row) == 3 or row[0].startswith("A") for row in rows)
  assert r"A\_1 \& co & $\mathbf{82.0} \pm 2.0" in text
  assert r"synergy, macro accuracy (\%)" in text
  values = 100 * np.array(VALUES["B"])
  found = re.search(r"^B & \$([\d.]+) \\pm ([\d.]+)", text, re.MULTILINE)
  assert found.groups() == (f"{values.mean():.1f}", f"{values.std(ddof=1):.1f}")


def test_one_class_for_every_example_has_a_dagger_and_a_note():
  found = metrics.accuracies(np.zeros(60, int), np.repeat([0, 1], 30))
  scores = {f"test/synergy/{name}": value for name, value in found.items()}
  entrants = [entrant("A", [0.8]), entrant("B", [0.6])]
  one = dataclasses.replace(entrants[1].runs[0], scores=scores)
  entrants[1] = dataclasses.replace(entrants[1], runs=[one])
  runs = [run for each in entrants for run in each.runs]
  comparison = Comparison(entrants, every_task(runs, {"synergy": 0.5}), {"synergy": 0.5})
  lines = latex.table(comparison).splitlines()
  marked = [line.split(" & ")[0] for line in lines if r"$^\dagger$ \\" in line]
  assert marked == ["B"] and r"\multicolumn{2}{l}" in lines[-2] and "one class" in lines[-2]
  assert "(one class)" in str(comparison_sections(comparison)[1].rows[1])


def test_what_latex_reads_as_commands_is_escaped():
  assert latex.escape("a_b^2 {50 %} \\x~") == (
    r"a\_b\textasciicircum{}2 \{50 \%\} \textbackslash{}x\textasciitilde{}"
  )
