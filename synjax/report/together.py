"""What several runs and sweeps show together: those on equal data are compared, paired by seed."""

import functools
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from synjax.report import drawn
from synjax.report.comparison import Comparison, Entrant, Run, chance_levels, every_task
from synjax.report.comparison_plot import draw_comparison
from synjax.report.comparison_sections import comparison_sections
from synjax.report.paper import Style
from synjax.report.runs import Group
from synjax.report.sections import Heading, Section, Text
from synjax.report.summary import sentences

_MOST_COMPARED = 30  # entrants that a figure has room for


class Entry(NamedTuple):
  """One entrant of a comparison, and what its data are.

  Attributes:
    data: fingerprint.
    entrant: its runs, one a seed.
    chance: task -> chance level.
  """

  data: str
  entrant: Entrant
  chance: Mapping[str, float]


def entries(groups: Sequence[Group]) -> list[Entry]:
  """Returns what can be compared of groups of runs: those that are finished."""
  return [
    Entry(
      group.runs[0].results["data_fingerprint"],
      Entrant(group.label, group_runs(group), len(group.rows)),
      group.chance,
    )
    for group in groups
    if group.rows
  ]


def group_runs(group: Group) -> list[Run]:
  """Returns the runs of a group as a comparison takes them."""
  return [Run(row["seed"], group.config, row["best"], group.stand_in) for row in group.rows]


def comparisons(found: Iterable[Entry]) -> list[Comparison]:
  """Returns a comparison of the entrants on each state of data, in their order."""
  by_data: dict[str, list[Entry]] = {}
  for entry in found:
    by_data.setdefault(entry.data, []).append(entry)
  made = []
  for same in by_data.values():
    runs = [run for entry in same for run in entry.entrant.runs]
    levels = chance_levels((entry.entrant.runs[0], entry.chance) for entry in same)
    made.append(Comparison([e.entrant for e in same], every_task(runs, levels), levels))
  return made


def summary_sections(found: Iterable[Comparison]) -> list[Section]:
  """Says in two sentences what each comparison shows; nothing of no scores, or of too many."""
  compared = (one for one in found if len(one.entrants) <= _MOST_COMPARED)
  return [Text(" ".join(own)) for one in compared if (own := sentences(one))]


def compared_sections(
  found: Sequence[Comparison], folder: pathlib.Path, *, tables: bool, style: Style | None = None
) -> list[Section]:
  """Returns what is comparable.

  Args:
    found: comparisons, of which those of one entrant are left out.
    folder: figures are written there.
    tables: False: another section has scores and differences, and only figures are wanted.
    style: of figures for a paper, beside the others; None: there are none.
  """
  sections: list[Section] = []
  several = [one for one in found if len(one.entrants) > 1 and one.columns]
  for number, one in enumerate(several, 1):
    title = "Compared" if len(several) == 1 else f"Compared, data {number} of {len(several)}"
    if len(one.entrants) > _MOST_COMPARED:
      words = f"{len(one.entrants)} configurations on equal data are more than a figure can show"
      sources = {entrant.label.partition(":")[0] for entrant in one.entrants}
      sections += [Text(f"{words}: each sweep's own section has them.")] * (len(sources) > 1)
      continue
    what = "Scores on the test split, 95 % intervals over seeds or test examples"
    draw = functools.partial(draw_comparison, one, title)
    image = drawn.write(draw, folder, f"compared_{number}", what=what, style=style)
    sections += [Heading(title), *(comparison_sections(one) if tables else []), image]
  return sections
