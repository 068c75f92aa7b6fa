"""The plot of README's "Adding a plot", as it stands there, is in a report."""

import pathlib
import re

from synjax import report
from synjax.report import plots
from tests.report.workdirs import make_workdir

README = pathlib.Path(__file__).parents[3] / "README.md"


def test_the_plot_of_the_readme_is_drawn_as_it_stands_there(tmp_path, monkeypatch):
  section = README.read_text().partition("## Adding a plot")[2].partition("\n## ")[0]
  (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
  module: dict = {}
  exec(code, module)  # noqa: S102
  monkeypatch.setattr(report, "PLOTS", (*plots.PLOTS, module["PLOT"]))
  path = report.write_report([make_workdir(tmp_path / "a")], None, {})
  assert "![Loss over steps](1_infmasking_loss.png)" in path.read_text()
  assert (path.parent / "1_infmasking_loss.png").stat().st_size > 1000
