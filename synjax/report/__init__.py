"""Reports: workdirs in, a Markdown table beside the published numbers and plots out.

Last in the dataflow: reads what `train` left in workdirs (config.json, metrics.jsonl, results.json,
embeddings.npz) and never runs a model.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report.gaussianity_runs import write_run_gaussianity
from synjax.report.plots import (
  plot_accuracy,
  plot_errors,
  plot_losses,
  plot_projection,
  principal_components,
)
from synjax.report.runs import Group, Run, find_workdirs, group_runs, read_run
from synjax.report.source_plots import plot_ntk, plot_sources
from synjax.report.tables import format_score, markdown_table, other_scores
from synjax.workdir.files import REPORT, write_atomically

__all__ = [
  "Group",
  "Run",
  "find_workdirs",
  "format_score",
  "group_runs",
  "markdown_table",
  "plot_accuracy",
  "plot_errors",
  "plot_losses",
  "plot_projection",
  "principal_components",
  "read_run",
  "write_report",
]

CAPTIONS = {
  "losses": "Loss and its terms over steps",
  "accuracy": "Accuracy on the validation split over epochs",
  "errors": "Mean squared error on the validation split over epochs",
  "projection": "PCA fitted on the unmasked test embeddings (the paper shows t-SNE)",
  "sources": "Accuracy of each source of the label over epochs, validation and, where scored, training",
  "ntk": "Strength of the learning signal of each source, and alignment between them, over training",
}
GAUSSIANITY = (
  "How far <q, z_mask> is from a normal distribution, in black what normal draws would give"
)
CLASSIFIERS_ONLY, PROBED_ONLY = ("sources", "ntk"), ("projection",)


def write_report(
  workdirs: Sequence[str | pathlib.Path],
  out: str | pathlib.Path | None,
  published: Mapping[str, Any],
) -> pathlib.Path:
  """Writes report.md and its plots.

  Args:
    workdirs: of runs, finished or not; a folder given twice counts once.
    out: folder for report.md and the PNG files; None: report/ in the first workdir.
    published: dataset -> published numbers, as `configs.published.ROWS`.

  Returns:
    Path of report.md.

  Raises:
    ValueError: no workdirs; a file that is broken or missing; a seed of a config twice, or its seeds of
      two code versions.
  """
  if not workdirs:
    raise ValueError("workdirs: expected at least one, found none; give --workdirs")
  runs = [read_run(workdir) for workdir in workdirs]
  groups = group_runs(runs)  # what is refused leaves no folder
  folder = pathlib.Path(out).expanduser() if out else runs[0].workdir / REPORT
  folder.mkdir(parents=True, exist_ok=True)
  sections = ["# Report", markdown_table(runs, published)]
  for group in groups:
    sections.append(f"## Run {group.label}")
    sections.append("\n".join(f"* `{run.workdir}`" for run in group.runs))
    if group.rows:
      facts = group.runs[0].results.get("facts", {})
      sections += ["\n".join(f"* {name}: {fact}" for name, fact in facts.items())] if facts else []
      sections.append(other_scores(group))
    sections += _write_plots(group, folder, published) + _write_gaussianity(group, folder)
  path = folder / "report.md"
  write_atomically(path, "\n\n".join(sections) + "\n")
  return path


def _write_gaussianity(group: Group, folder: pathlib.Path) -> list[str]:
  """Writes a plot for every run of the group that recorded how Gaussian its masked views are."""
  shown = []
  for i, run in enumerate(group.runs):
    name = f"{group.number}_{group.method}_gaussianity_{i}.png"
    if write_run_gaussianity(run.workdir, folder / name, title=str(run.workdir)):
      shown.append(f"![{GAUSSIANITY}]({name})\n\n{GAUSSIANITY}.")
  return shown


def _write_plots(group: Group, folder: pathlib.Path, published: Mapping[str, Any]) -> list[str]:
  """Writes the plots that the group has data for; returns Markdown that shows them."""
  plots = {
    "losses": plot_losses(group),
    "accuracy": plot_accuracy(group, group.chance(published)),
    "errors": plot_errors(group),
    "projection": plot_projection(group),
    "sources": plot_sources(group),
    "ntk": plot_ntk(group),
  }
  probed = "representation" in group.config.get("evaluators", ("representation",))
  expected = set(plots) - set(CLASSIFIERS_ONLY if probed else PROBED_ONLY) - {"ntk", "errors"}
  unlabelled = group.rows and not group.chance({})
  if plots["errors"] or unlabelled:  # a run may have regressions only, or nothing to score
    expected.discard("accuracy")
  shown = []
  for kind, figure in plots.items():
    if figure is None:
      if kind in expected:
        shown.append(f"No values (yet) for a plot: {CAPTIONS[kind]}.")
      continue
    name = f"{group.number}_{group.method}_{kind}.png"
    figure.savefig(folder / name, format="png")
    shown.append(f"![{CAPTIONS[kind]}]({name})\n\n{CAPTIONS[kind]}.")
  return shown
