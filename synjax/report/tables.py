"""The tables of a report: measured rows beside the published one, and where they come from."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from synjax.report import degenerate, said_once, units
from synjax.report.baselines import baseline_sections, contestants
from synjax.report.cells import NOT_AVAILABLE, format_error, format_score
from synjax.report.comparable import columns_of, differences
from synjax.report.comparison_sections import paired_sections
from synjax.report.runs import Group
from synjax.report.sections import Heading, Points, Section, Text
from synjax.report.synergy_table import synergy_sections
from synjax.report.together import comparisons, entries
from synjax.workdir import scores
from synjax.workdir.identity import config_differences

_START = ("checkpoint", "protocol", "seeds", "data")
PROVENANCE = (
  *("run", "protocol", "seeds", "data", "steps", "selection rule", "hardware", "seconds", "code"),
)
ERROR_METRICS = {  # {mse}: the error with its unit
  "mse": "{mse}",
  "r2": "R2",
  "pearson": "Pearson",
  "mean_mse": "{mse} of the mean label",
}
ABOUT_ACCURACIES = (
  "Macro accuracy on the test split in %, where no other score is named: mean ± std (ddof 1) over seeds;"
  " of one seed, the 95 % interval over test examples."
)
ABOUT_ERRORS = (
  "Regressions on the test split, mean over outputs: mean squared error (MSE, lower is"
  " better), R2 and correlation (1 is perfect), and the error of predicting the mean label, the"
  " trivial baseline. Mean ± std (ddof 1) over seeds; of one seed, the 95 % interval over test"
  " examples."
)
NOT_PUBLISHED = "no published number stands beside these, for it would be one of other data."
FIXTURE = f"**Fixture, not the published data**: {NOT_PUBLISHED}"
OTHER_DATA = f"**Not the data that numbers were published for**: {NOT_PUBLISHED}"
PUBLISHED_CHECKPOINT = (  # docs/spec/infmasking.md 9
  "Paper rows of infmasking and comm are of the epoch that was best on validation: compare them with"
  " best, not with last."
)
MODALITIES = "data.modalities"
_ABSENT = "(absent)"  # what `config_differences` says of a field that one config lacks


class Scored(NamedTuple):
  """A column of the table of accuracies.

  Attributes:
    header: with chance.
    names: the published columns it is compared with; several were published for other modalities.
    tasks: averaged in it.
    metric: of each of them.
  """

  header: str
  names: tuple[str, ...]
  tasks: tuple[str, ...]
  metric: str = "macro_accuracy"


def on_test(task: str, metric: str, modalities: str = "") -> str:
  """Returns the name of a score on the test split."""
  return str(scores.Score("test", task, metric, modalities))


def _columns(groups: Sequence[Group], benchmark) -> list[Scored]:
  """Returns the columns of the table of accuracies, chance in every header."""
  chances = [group.chance for group in groups]
  chance = dict.fromkeys(
    task for found in chances for task in found
  )  # of tasks that runs differ in

  def percent(tasks: Sequence[str]) -> str:
    """Chance of the tasks' mean: of every group that has them, for numbers of classes may differ."""
    levels = [[found[t] for t in tasks] for found in chances if set(tasks) <= set(found)]
    texts = [f"{100 * np.mean(own):.1f}" for own in levels]
    return f"(chance {' or '.join(dict.fromkeys(texts))})" if texts else "(chance unknown)"

  alone = lambda task: Scored(f"{task} {percent((task,))}", (), (task,))  # noqa: E731
  published: dict[tuple[str, ...], list[str]] = {}
  columns = []
  for name, column in benchmark.columns.items() if benchmark else ():
    if column.error or not set(column.tasks) <= set(chance):
      continue
    if column.metric == "macro_accuracy":
      published.setdefault(column.tasks, []).append(name)
    else:
      columns.append(
        Scored(f"{', '.join(column.tasks)}: {name}", (name,), column.tasks, column.metric)
      )
  for tasks, names in published.items():
    if len(tasks) == 1:
      plain = len(names) > 1 or names[0] == tasks[0]
      known_as = tasks[0] if plain else f"{names[0]}: {tasks[0]}"
    else:
      columns += map(alone, tasks)
      known_as = f"{names[0]}: mean of {', '.join(tasks)}"
    columns.append(Scored(f"{known_as} {percent(tasks)}", tuple(names), tasks))
  taken = set(itertools.chain(*published))
  return columns + [alone(task) for task in chance if task not in taken]


def _result_rows(group: Group, columns: Sequence[Scored]) -> list[list[str]]:
  return [
    _start(group, which)
    + [
      mean_score(group, which, [on_test(task, column.metric) for task in column.tasks])
      for column in columns
    ]
    for which in group.checkpoints
  ]


def mean_score(group: Group, which: str, names: Sequence[str]) -> str:
  """Formats the mean of tasks' scores, that of a task alone with its mark."""
  text, score = format_score(group.rows, which, names), scores.parse(names[0])
  alone = [row[which] for row in group.rows] if len(names) == 1 and text != NOT_AVAILABLE else []
  chance = group.chance.get(score.task) if score.metric == "macro_accuracy" else None
  return text + degenerate.mark(alone, names[0], chance)


def _start(group: Group, which: str) -> list[str]:
  checkpoint = group.checkpoints[which]
  return [group.label, checkpoint, group.config["protocol"], str(len(group.rows)), group.data]


def _choices(names: Iterable[str], benchmark, groups: Sequence[Group]) -> list[tuple | None]:
  """Returns what modalities published columns are of: those the groups have, or else all."""
  known = dict.fromkeys(benchmark.columns[name].setting.get(MODALITIES) for name in names)
  had = {group.field(MODALITIES) for group in groups}
  return [choice for choice in known if choice in had] or list(known)


def _paper_start(method: str, benchmark, modalities: Sequence[str] | None) -> list[str]:
  setting = benchmark.setting
  size = setting.get("data.resolution")
  data = ["as published", " + ".join(modalities or ()), size and f"{size} px"]
  seeds, protocol = str(setting.get("num_seeds", "-")), str(setting.get("protocol", "-"))
  return [f"paper: {method}", "-", protocol, seeds, ", ".join(filter(None, data))]


def _printed(value: tuple[float, float | None], digits: int) -> str:
  mean, std = value
  return f"{mean:.{digits}f}" + ("" if std is None else f" ± {std:.{digits}f}")


def _paper_rows(method: str, benchmark, columns, groups: Sequence[Group]) -> list[list[str]]:
  """Returns the published accuracies of a method: a row for each choice of modalities."""
  printed = benchmark.rows.get(method, {}) if benchmark else {}
  names = [name for column in columns for name in column.names if name in printed]
  rows = []
  for choice in _choices(names, benchmark, groups) if names else ():
    rows.append(_paper_start(method, benchmark, choice))
    for column in columns:
      same = [n for n in column.names if benchmark.columns[n].setting.get(MODALITIES) == choice]
      values = [_printed(printed[name], 1) for name in same if name in printed]
      rows[-1].append((*values, NOT_AVAILABLE if same else "-")[0])
  return rows


def _error_rows(group: Group) -> list[list[str]]:
  return [
    _start(group, which)
    + [task, *(error_score(group, which, on_test(task, name)) for name in ERROR_METRICS)]
    for task in group.regressions
    for which in group.checkpoints
  ]


def error_score(group: Group, which: str, name: str) -> str:
  """Formats a score of a regression with its mark."""
  text = format_error(group.rows, which, name, scale=units.error_scale(group.dataset))
  return text + degenerate.mark([row[which] for row in group.rows], name)


def error_headers(group: Group) -> list[str]:
  """Returns the headers of `ERROR_METRICS`, with the unit of the dataset."""
  mse = units.error_name(group.dataset)
  return [header.format(mse=mse) for header in ERROR_METRICS.values()]


def _paper_error_rows(method: str, benchmark, groups: Sequence[Group]) -> list[list[str]]:
  """Returns the published errors of a method in the regressions that the groups have."""
  printed = benchmark.rows.get(method, {}) if benchmark else {}
  measured = {task for group in groups for task in group.regressions}
  names = [
    name for name in printed if benchmark.columns[name].error and _fits(benchmark, name, measured)
  ]
  choices = _choices(names, benchmark, groups) if names else ()
  return [
    [
      *_paper_start(method, benchmark, benchmark.columns[name].setting.get(MODALITIES)),
      ", ".join(benchmark.columns[name].tasks),
      _printed(printed[name], 2),
      *["-"] * (len(ERROR_METRICS) - 1),
    ]
    for name in names
    if benchmark.columns[name].setting.get(MODALITIES) in choices
  ]


def _fits(benchmark, name: str, tasks: Iterable[str]) -> bool:
  return set(benchmark.columns[name].tasks) <= set(tasks)


def _provenance_row(group: Group) -> list[str]:
  results = [run.results for run in group.runs]
  unique = lambda values: "; ".join(dict.fromkeys(map(str, values)))  # noqa: E731
  stopped = sum(bool(row.get("stopped_early")) for row in group.rows)
  steps = f"{results[0]['total_steps']} ({group.field('total_epochs')} epochs)"
  best = sorted({row["best_step"] for row in group.rows})
  chosen = f"{best[0]}" if len(best) == 1 else f"{best[0]} to {best[-1]}"
  return [
    group.label,
    group.config["protocol"],
    f"{len(group.rows)} ({', '.join(str(row['seed']) for row in group.rows)})",
    f"{group.data}, fingerprint {results[0]['data_fingerprint']}",
    steps + (f", {stopped} of {len(group.rows)} seeds stopped early" if stopped else ""),
    f"{unique(r['selection'] for r in results)}; best at step {chosen}",
    unique(r["hardware"] for r in results),
    "; ".join(f"{r['seconds']} for {r['steps_timed']} steps" for r in results),
    unique(r["code"] for r in results),
  ]


def _comparability(group: Group, benchmark) -> list[str]:
  """Says whether a group is of the published size and protocol, and which columns it is not."""
  measured = {False: set(group.chance), True: set(group.regressions)}
  columns = {
    name: column
    for name, column in benchmark.columns.items()
    if _fits(benchmark, name, measured[column.error])
  }
  if not columns:
    return [
      f"{group.label}: the paper has no numbers of {', '.join(sorted(set().union(*measured.values())))}."
    ]
  own = [column for name, column in columns_of(benchmark, group.field).items() if name in columns]
  differing = differences(benchmark, own, group.method, group.field)
  size = (
    f"NOT of the published size or protocol: {', '.join(differing)}"
    if differing
    else "of the published size and protocol"
  )
  elsewhere: dict[str, list[str]] = {}
  for name, column in columns.items():
    if column.tasks in [o.tasks for o in own]:
      continue
    for field, value in column.setting.items():
      if group.field(field) != value:
        elsewhere.setdefault(f"{field} = {value}", []).append(name)
  return [f"{group.label} is {size}."] + [
    f"{group.label}: the published {', '.join(names)} come from runs with {setting}, which this run"
    " does not have: another experiment, not to be compared."
    for setting, names in elsewhere.items()
  ]


def _tables(groups: Sequence[Group], benchmark, *, paper: bool) -> list[Section]:
  """Returns the accuracies and the errors of finished groups, with `paper` the published too."""
  columns = _columns(groups, benchmark)
  start = ["run", *_START]
  accuracies, errors = [], []
  for method in dict.fromkeys(group.method for group in groups):
    same = [group for group in groups if group.method == method]
    classes = [group for group in same if group.chance]
    numbers = [group for group in same if group.regressions]
    for group in classes:
      accuracies += _result_rows(group, columns)
    for group in numbers:
      errors += _error_rows(group)
    accuracies += _paper_rows(method, benchmark, columns, classes) if paper and classes else []
    errors += _paper_error_rows(method, benchmark, numbers) if paper and numbers else []
  parts = []
  if accuracies:
    header = [*start, *(column.header for column in columns)]
    parts += [Text(ABOUT_ACCURACIES), *said_once.sections(header, accuracies, _START)]
  if errors:
    header = [*start, "regression", *error_headers(groups[0])]
    parts += [Text(ABOUT_ERRORS), *said_once.sections(header, errors, _START)]
  return parts


def _notes(groups: Sequence[Group], benchmark) -> list[str]:
  """Returns what a reader must know to compare the groups with the paper and with each other."""
  notes = []
  for method in dict.fromkeys(group.method for group in groups):
    for group in groups:
      if group.method == method and benchmark and not group.stand_in:
        notes += _comparability(group, benchmark)
    if benchmark and method not in benchmark.rows:
      notes.append(
        f"{method}: no published numbers for {groups[0].dataset} are known to this report."
      )
  real = [group for group in groups if not group.stand_in]
  if benchmark and real:
    notes += [f"Paper rows: {benchmark.source}.", PUBLISHED_CHECKPOINT]
    measured = {task for group in real for task in (*group.chance, *group.regressions)}
    notes += [
      f"{name}: {column.note}."
      for name, column in benchmark.columns.items()
      if column.note and _fits(benchmark, name, measured)
    ]
  for group in groups:
    names = {on_test(scores.learned_in(r["best"]), "predicted_classes") for r in group.rows}
    alone = [row["seed"] for row in group.rows if 1 in map(row["best"].get, names)]
    if alone:
      seeds = ", ".join(map(str, alone))
      notes.append(
        f"{group.label}: the classifier of seed {seeds} predicts one class for all test examples: it is"
        " at chance, whatever its other scores say."
      )
  for group in groups[1:]:
    notes.append(
      f"{group.label} differs from {groups[0].label}: {'; '.join(_changes(groups[0], group))}."
    )
  return notes


def _changes(first: Group, group: Group) -> list[str]:
  """Says what differs between two groups; fields that one of two methods lacks are only counted."""
  runs = [first.runs[0], group.runs[0]]
  changes = config_differences(*(run.experiment for run in runs))
  if first.method != group.method:
    own = [change for change in changes if change.startswith("method.") and _ABSENT in change]
    changes = [change for change in changes if change not in own]
    changes += [f"{len(own)} fields that one of the two methods has"] if own else []
  data = (str(run.results["data_fingerprint"]) for run in runs)
  return changes or [f"data only, fingerprint {' -> '.join(data)}"]


def _dataset_sections(groups: Sequence[Group], benchmark) -> list[Section]:
  """Returns results, provenance and notes of the finished groups of one dataset."""
  real = [group for group in groups if not group.stand_in]
  others = [group for group in groups if group.stand_in]
  parts = _tables(real, benchmark, paper=True) if real else []
  if others:
    fixture = any(group.stand_in.startswith("fixture") for group in others)
    reasons = Points([f"{group.label}: {group.stand_in}" for group in others])
    parts += [
      Text(FIXTURE if fixture else OTHER_DATA),
      reasons,
      *_tables(others, benchmark, paper=False),
    ]
  provenance = said_once.facts(PROVENANCE, [_provenance_row(group) for group in groups])
  parts += [*baseline_sections(contestants(groups)), *_paired(groups), *synergy_sections(groups)]
  notes = _notes(groups, benchmark)
  return [*parts, *provenance, *([Points(notes)] if notes else [])]


def _paired(groups: Sequence[Group]) -> list[Section]:
  """Returns the differences between groups on the same data, seed by seed."""
  return [section for one in comparisons(entries(groups)) for section in paired_sections(one)]


def result_sections(groups: Sequence[Group], published: Mapping[str, Any]) -> list[Section]:
  """Makes the tables of some groups, headed by their dataset.

  Args:
    groups: finished or not; of the unfinished ones, only how far they are is said.
    published: dataset -> published numbers, as `configs.published.ROWS`.

  Returns:
    Accuracies are macro accuracies in %, with chance in the column's header; a row of the selected
    ("best") and of the last parameters for each group of seeds, then the paper's row (one for each choice
    of modalities). Regressions are in a table of their own, a row a task: mean squared errors in the unit
    of `units.error_scale`, and that of predicting the mean label beside them.
  """
  finished = [group for group in groups if group.rows]
  sections: list[Section] = []
  for dataset in dict.fromkeys(group.dataset for group in finished):
    own = [group for group in finished if group.dataset == dataset]
    sections += [Heading(dataset), *_dataset_sections(own, published.get(dataset))]
  unfinished = [
    f"{group.label}, {group.data}, `{run.workdir}`: {run.progress}"
    for group in groups
    if not group.rows
    for run in group.runs
  ]
  return sections + ([Heading("Unfinished"), Points(unfinished)] if unfinished else [])
