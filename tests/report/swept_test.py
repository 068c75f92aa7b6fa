"""A sweep beside others, by what is in its folder; on a page with runs: together_test.py."""

from synjax.report.paper import Style
from synjax.report.sections import Explorer, Heading, Image
from synjax.report.sweeps import description
from synjax.report.swept import Swept
from tests.report.sweeps.folders import DESCRIPTION, overrides, value, write
from tests.report.together_test import ARM, make_sweep


def test_arms_are_entrants_with_the_runs_of_their_seeds(tmp_path):
  a, b = Swept(make_sweep(tmp_path / "mine"), {}).entries()
  assert (a.entrant.label, b.entrant.label, a.data) == ("mine: a", "mine: b", "f00d")
  found = {run.seed: run.scores["test/synergy/macro_accuracy"] for run in a.entrant.runs}
  assert found == dict(zip((42, 43, 44), ARM, strict=True)) and a.entrant.planned == 3


def test_its_files_lie_in_a_folder_of_its_own_and_headings_are_one_level_down(tmp_path):
  swept = Swept(write(tmp_path / "s", overrides(), value), {})
  assert "comparison" not in swept.sweep.description  # the arms have two strengths each
  sections = swept.sections(tmp_path / "out")
  assert sections[0] == Heading("Sweep s", 2)
  (table,) = [section for section in sections if isinstance(section, Explorer)]
  assert table.file == "s/rows.csv" and (tmp_path / "out" / table.file).exists()


def test_it_has_the_plots_of_its_sweep_file_for_papers_too(tmp_path):
  folder = write(tmp_path / "s", overrides(), value)
  description.store(folder, DESCRIPTION)
  sections = Swept(folder, {}).sections(tmp_path / "out", Style(["svg"], 3.25))
  (image,) = [section for section in sections if isinstance(section, Image)]
  assert image.file == "s/curve.png" and (tmp_path / "out" / image.file).exists()
  text = (tmp_path / "out" / "paper" / "s_curve.svg").read_text()
  assert "Strengths" not in text and "accuracy (%)" in text  # labels and no title
