"""All that was measured of a run on the test split, a row a task: more than the tables of runs show."""

import itertools
from collections.abc import Mapping, Sequence

from synjax.report import said_once, units
from synjax.report.cells import format_score
from synjax.report.runs import Group
from synjax.report.sections import Section, Text
from synjax.report.tables import ERROR_METRICS, error_headers, error_score, mean_score, on_test
from synjax.workdir import scores

_ONE_LABEL = {
  "knn_macro_accuracy": "k-NN macro accuracy",
  "accuracy": "top-1 (chance: the largest class' share)",
  "auroc": "AUROC (chance 50.0)",
}
_OF_IRONY = {"macro_f1": "macro F1", "irony_f1": "F1 of the class irony"}  # where it was made
_SEVERAL_LABELS = {
  "accuracy": "right label decisions (chance: if each label is always said as most examples have it)",
  "auroc": "AUROC (chance 50.0)",
  "macro_f1": "macro F1",
  "weighted_f1": "weighted F1",
}
_SEVERAL_LEAD = "Test split, of several labels an example, %, mean ± std over seeds:"


def other_scores(group: Group) -> list[Section]:
  """Returns all that was measured on the test split, one row a task, and a lead.

  Args:
    group: finished runs.

  Returns:
    A table of the tasks with one label an example, of those with several, and of the regressions; none
    that would be empty.
  """
  known = filter(None, map(scores.parse, group.rows[0]["best"]))
  missing = sorted({score.modalities for score in known if score.split == "test"} - {""})
  without = [name.replace("_", " ", 1) for name in missing]
  parts: list[Section] = []
  measured = lambda task, metric: on_test(task, metric) in group.rows[0]["best"]  # noqa: E731
  several = [task for task in group.chance if measured(task, "weighted_f1")]
  one = [task for task in group.chance if task not in several]
  ironic = _OF_IRONY if any(measured(task, "irony_f1") for task in one) else {}
  for tasks, lead, metrics in (
    (one, "Test split, %, mean ± std over seeds:", _ONE_LABEL | ironic),
    (several, _SEVERAL_LEAD, _SEVERAL_LABELS),
  ):
    if tasks:
      header = ["task", "checkpoint", "chance", "macro accuracy", *metrics.values()]
      header += [f"macro accuracy {name}" for name in without]
      rows = _rows(group, tasks, metrics, missing)
      parts += [Text(lead), *said_once.sections(header, rows, ("checkpoint",))]
  if group.regressions:
    header = ["regression", "checkpoint", *error_headers(group)]
    header += [f"{units.error_name(group.dataset)} {name}" for name in without]
    lead = Text("Test split, regressions, mean ± std over seeds:")
    rows = _error_rows(group, missing)
    parts += [lead, *said_once.sections(header, rows, ("checkpoint",))]
  return parts


def _error_rows(group: Group, missing: Sequence[str]) -> list[list[str]]:
  rows = []
  for task, which in itertools.product(group.regressions, group.checkpoints):
    names = [on_test(task, metric) for metric in ERROR_METRICS]
    names += [on_test(task, "mse", subset) for subset in missing]
    cells = [error_score(group, which, name) for name in names]
    rows.append([task, group.checkpoints[which], *cells])
  return rows


def _rows(
  group: Group, tasks: Sequence[str], metrics: Mapping[str, str], missing: Sequence[str]
) -> list[list[str]]:
  rows = []
  for task, (which, called) in itertools.product(tasks, group.checkpoints.items()):
    names = [on_test(task, metric) for metric in ("macro_accuracy", *metrics)]
    names += [on_test(task, "macro_accuracy", subset) for subset in missing]
    cells = [
      mean_score(group, which, [name])
      if name.endswith("macro_accuracy")
      else format_score(group.rows, which, [name])
      for name in names
    ]
    rows.append([task, called, f"{100 * group.chance[task]:.1f}", *cells])
  return rows
