"""Reports: workdirs in, tables beside the published numbers and plots out.

Last in the dataflow: reads what `train` left in workdirs (see `workdir.files`) and runs no model.
`tables` and `plots` say what there is to say, as `sections`; a renderer, `markdown`, makes the text.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from synjax.report import drawn, html, markdown, paper
from synjax.report.all_scores import other_scores
from synjax.report.cells import format_score
from synjax.report.origin import Preset, origin_sections
from synjax.report.plots import PLOTS, projection
from synjax.report.plots.base import Plot
from synjax.report.runs import Group, Run, find_workdirs, group_runs, read_run
from synjax.report.sections import Heading, Section, Text
from synjax.report.tables import result_sections
from synjax.report.together import (
  compared_sections,
  comparisons,
  entries,
  summary_sections,
)
from synjax.workdir.files import REPORT, SWEEP, write_atomically

if TYPE_CHECKING:
  from synjax.report.swept import Swept

__all__ = [
  "Group",
  "Run",
  "find_workdirs",
  "format_score",
  "group_runs",
  "markdown_table",
  "read_run",
  "write_report",
]


def write_report(
  workdirs: Sequence[str | pathlib.Path],
  out: str | pathlib.Path | None,
  published: Mapping[str, Any],
  *,
  preset: Preset | None = None,
  refresh: int = 0,
  style: paper.Style | None = None,
  tsne: bool = False,
) -> pathlib.Path:
  """Writes report.md and its plots, and report.html, the same as one file with values under the pointer.

  Args:
    workdirs: of runs and sweeps, finished or not; a folder given twice counts once.
    out: folder for report.md, report.html and PNG files; None: report/ in the first workdir.
    published: dataset -> published numbers, as `configs.published.ROWS`.
    preset: finds the preset of a run's config, as `configs.presets.nearest`; None: its command and what
      differs from the preset are left out.
    refresh: seconds after which a browser loads the page again; 0: never.
    style: of figures and tables for a paper, which go to paper/ in the folder; None: there are none.
    tsne: True draws embeddings by t-SNE too, which takes seconds a run.

  Returns:
    Path of report.md.

  Raises:
    ValueError: no workdirs; a file that is broken or missing; a seed of a config twice, or its seeds of
      two code versions.
  """
  if not workdirs:
    raise ValueError("workdirs: expected at least one, found none; give --workdirs")
  paths = list(dict.fromkeys(pathlib.Path(one).expanduser().absolute() for one in workdirs))
  swept = [path for path in paths if (path / SWEEP).exists()]
  groups = group_runs([read_run(path) for path in paths if path not in swept], published)
  sweeps = _read(swept, published)  # what is refused leaves no folder
  folder = pathlib.Path(out).expanduser() if out else paths[0] / REPORT
  folder.mkdir(parents=True, exist_ok=True)
  compared = comparisons([*entries(groups), *(e for sweep in sweeps for e in sweep.entries())])
  sections = [Heading("Report", level=1), *summary_sections(compared)]
  sections += result_sections(groups, published)
  sections += compared_sections(compared, folder, tables=bool(sweeps), style=style)
  for group in groups:
    sections += [Heading(f"Run {group.label}"), *(other_scores(group) if group.rows else [])]
    sections += [
      *_plots(group, folder, style, PLOTS + (projection.TSNE,) * tsne),
      *origin_sections(group, preset),
    ]
  for sweep in sweeps:
    sections += sweep.sections(folder, style)
  if style:
    style.write_tables(compared, folder)
  path = folder / "report.md"
  write_atomically(path, markdown.render(sections) + "\n")
  write_atomically(folder / "report.html", html.render(sections, folder, refresh=refresh) + "\n")
  return path


def _read(folders: Sequence[pathlib.Path], published: Mapping[str, Any]) -> "list[Swept]":
  """Reads sweeps; only what they need knows the plans of sweeps, and jax."""
  if not folders:
    return []
  from synjax.report.swept import Swept

  return [Swept(folder, published) for folder in folders]


def markdown_table(runs: Sequence[Run], published: Mapping[str, Any]) -> str:
  """Returns `tables.result_sections` of some runs as Markdown; raises as `group_runs`."""
  return markdown.render(result_sections(group_runs(runs, published), published))


def _plots(
  group: Group, folder: pathlib.Path, style: paper.Style | None, plots: Sequence[Plot]
) -> list[Section]:
  """Writes the plots of a group into a folder; returns the sections that show them."""
  sections: list[Section] = []
  for plot in plots:
    for of, name in _drawn(plot, group):
      if not plot.when(of):
        continue
      if words := plot.words(of):
        sections.append(Text(words))
        continue
      draw = functools.partial(plot.draw, of)
      image = drawn.write(draw, folder, name, what=plot.caption, style=style)
      sections.append(image or Text(f"No values (yet) for a plot: {plot.caption}."))
  return sections


def _drawn(plot: Plot, group: Group) -> list[tuple[Group, str]]:
  """Returns what a plot is drawn of, the group or each of its runs, and what its files are called."""
  name = f"{group.number}_{group.method}_{plot.name}"
  if not plot.each_run:
    return [(group, name)]
  return [
    (dataclasses.replace(group, runs=[run]), f"{name}_{i}") for i, run in enumerate(group.runs)
  ]
