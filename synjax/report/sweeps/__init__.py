"""Reports of sweeps: the journal in; rows.csv, table.md, maybe table.csv and plots out, finished or not.

The description of a report is plain data, as a sweep file's `get_report()` returns it:

    {"title": "Spurious XOR",
     "metrics": {"test/accuracy": "accuracy (%)"},    # metric -> label; the table's columns
     "percent": True,                                 # show those that are fractions in %; default
     "table": ["arm", "data.strength"],               # fields of a table row, runs that differ in others
                                                      # are averaged; default: all but the seed
     "baselines": False,                              # leaves out the rows beside the baselines
     "reference": [{"where": {"arm": "oracle"}, "values": {"test/accuracy": 0.99}, "source": "...",
                    "which": "last"}],                # checkpoint it is of; default: "best"
     "plots": [{"name": "curve", "kind": "curve", "x": "data.strength", "line": "arm",
                "metric": "test/accuracy", "chance": 0.5},
               {"name": "simplex", "kind": "simplex", "fields": [three mixture fields], "panel": "arm",
                "labels": [three names], "metric": "test/accuracy", "range": [0.5, 1]},
               {"name": "bars", "kind": "bars", "x": "arm", "metrics": [...], "chance": 0.5},
               {"name": "k", "kind": "ablation", "x": "method.num_views", "metrics": [...],
                "costs": ["seconds_per_step"], "log2": True},
               {"name": "methods", "kind": "methods"}],     # bars of the comparison
     "comparison": {"row": "arm",                           # the field that names methods; default
                    "columns": [{"title": "synergy", "tasks": ["synergy"], "metric": "macro_accuracy",
                                 "where": {"data.biased": True}}],
                    "published": {},                        # dataset -> configs.published.Benchmark
                    "choose": True}}                        # of several configurations a method, by
                                                            # validation (`chosen`); default: False

Every plot also takes "which" ("best", the default, or "last"), "where" (field -> value: only these
runs), "xlabel" and "title". "<task>" in the metrics of the table, of bars and of ablations stands for
every task that was scored; "chance": "measured" draws the chance levels of these tasks. "costs" (time
of a run, time and memory of a step, `description.COSTS`) are columns of the table and panels of an
ablation. "comparison" puts methods and baselines into one table, with what was published, marks what
is clearly best and lists differences paired by seed (`comparison`; also table.csv); without "columns"
it has one of every task, "where" is of runs that are probed (a classifier has what it learned).
"""

import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report import drawn, html, markdown
from synjax.report.comparison_sections import comparison_sections, to_csv
from synjax.report.paper import Style
from synjax.report.sections import Heading, Section, Table, Text
from synjax.report.summary import sentences
from synjax.report.sweeps import chosen, explorer, methods, rows, subsets, table
from synjax.report.sweeps.description import store
from synjax.report.sweeps.plots import KINDS
from synjax.report.sweeps.plots.base import title_of
from synjax.report.sweeps.sweep import Sweep
from synjax.sweeps.file import describe
from synjax.sweeps.journal import MISSING, read_journal
from synjax.sweeps.plan import Row, group_id
from synjax.workdir.files import write_atomically


def write_sweep_report(
  folder: str | pathlib.Path, description: Mapping[str, Any], *, refresh: int = 0
) -> pathlib.Path:
  """Writes rows.csv, table.md, report.html, plots and maybe table.csv of a sweep, maybe still running.

  The description is kept beside them, for `launch.report`.

  Args:
    folder: of the sweep.
    description: see this module; {}: the metric that selects and the test scores, no plots.
    refresh: seconds after which a browser loads the page again; 0: never.

  Returns:
    Path of table.md.

  Raises:
    ValueError: no sweep in the folder; a description that does not fit it.
  """
  folder = pathlib.Path(folder).expanduser().absolute()
  sweep = Sweep(folder, description)
  store(folder, description)
  sections = sweep_sections(sweep, folder)
  write_atomically(folder / "table.md", markdown.render(sections) + "\n")
  page = html.render(sections, folder, refresh=refresh)
  write_atomically(folder / "report.html", page + "\n")
  return folder / "table.md"


def sweep_sections(sweep: Sweep, folder: pathlib.Path, style: Style | None = None) -> list[Section]:
  """Returns all there is to say of a sweep; writes rows.csv, plots and maybe table.csv into a folder.

  With a `style` the plots are written for a paper, too.
  """
  write_atomically(folder / "rows.csv", rows.to_csv(sweep))
  sections: list[Section] = [
    Heading(sweep.description.get("title", "Sweep"), level=1),
    *_summary(sweep),
    Text(f"{sweep.state}."),
    *table.left_out(sweep),
  ]
  scores = table.score_sections(sweep) if sweep.done else []
  compared, plots = table.compared(sweep), _plots(sweep, folder, style)
  if sweep.comparison is None:
    scores = [*scores, *(explorer.best_sections(sweep) if sweep.done else [])]
    sections += [*scores, *compared, *plots]
  else:
    sections += [*_comparison(sweep, folder), *plots]
    sections += [Heading("Each checkpoint"), *scores, *compared]
  return [*sections, *table.failure_sections(sweep), *explorer.row_sections(sweep)]


def _summary(sweep: Sweep) -> list[Section]:
  """Says in two sentences what a sweep has found so far."""
  if sweep.comparison is not None:
    found = sentences(sweep.comparison)
  else:
    found = explorer.summary(sweep)
  return [Text(" ".join(found))] if found else []


def _comparison(sweep: Sweep, folder: pathlib.Path) -> list[Section]:
  """Writes table.csv of a comparison, and returns its table."""
  comparison = sweep.comparison
  benchmark = methods.benchmark_of(sweep.description["comparison"], sweep.done)
  write_atomically(folder / "table.csv", to_csv(comparison, benchmark))
  asked, rows = sweep.description["comparison"], (sweep.declared, sweep.done)
  choices = methods.choices_of(asked, *rows)
  sections = comparison_sections(comparison, benchmark)
  sections += [Heading("Configurations"), *chosen.sections(choices)] if choices else []
  return sections + subsets.subset_sections(methods.by_label(asked, *rows))


def _plots(sweep: Sweep, folder: pathlib.Path, style: Style | None) -> list[Section]:
  """Writes the plots of the description into a folder; returns the sections that show them."""
  sections: list[Section] = []
  for plot in sweep.description["plots"]:
    draw = functools.partial(KINDS[plot["kind"]].draw, sweep, plot)
    image = drawn.write(draw, folder, plot["name"], what=title_of(sweep, plot), style=style)
    sections.append(image or Text(f"No values (yet) for the plot {plot['name']}."))
  return sections


def list_rows(groups: Sequence[list[Row]], folder: str | pathlib.Path) -> str:
  """Returns a Markdown table of all rows: id, status in the sweep's folder, group and overrides."""
  entries = read_journal(pathlib.Path(folder).expanduser())
  lines = []
  for group in groups:
    name = group_id(group[0].program, [row.trial for row in group])
    for row in group:
      status = entries.get(row.id, MISSING)["status"]
      lines.append([row.id, status, name, describe(row.overrides)])
  return markdown.render([Table(["id", "status", "group", "overrides"], lines)])
