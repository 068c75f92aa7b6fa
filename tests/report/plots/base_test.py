"""A plot is added by a file and a line: what a plot says is what the report does."""

import pytest

from synjax import report
from synjax.report.plots import canvas
from synjax.report.plots.base import Plot
from tests.report.workdirs import make_workdir


def draw(group):
  return canvas.group_figure(group, "Toy", figsize=(2, 2))


@pytest.mark.parametrize(
  ("when", "drawn", "said"),
  [
    (True, draw, "![A toy](1_infmasking_toy.png)\n\nA toy."),
    (True, lambda group: None, "No values (yet) for a plot: A toy."),
    (False, draw, None),
  ],
)
def test_a_toy_plot_is_in_the_report(tmp_path, monkeypatch, when, drawn, said):
  monkeypatch.setattr(report, "PLOTS", (Plot("toy", "A toy", lambda group: when, drawn),))
  path = report.write_report([make_workdir(tmp_path / "a")], None, {})
  text = path.read_text()
  assert f"{said}\n" in text if said else "A toy" not in text
  assert (path.parent / "1_infmasking_toy.png").exists() == bool(said and "png" in said)


def test_a_plot_of_each_run_is_drawn_once_a_run(tmp_path, monkeypatch):
  seen = []
  plot = Plot("toy", "A toy", lambda group: True, lambda group: seen.append(group), each_run=True)
  monkeypatch.setattr(report, "PLOTS", (plot,))
  workdirs = [make_workdir(tmp_path / name, (seed,)) for name, seed in (("a", 1), ("b", 2))]
  report.write_report(workdirs, None, {})
  assert [[run.workdir for run in group.runs] for group in seen] == [[w] for w in workdirs]
