"""The Markdown tables of a report: measured rows beside the published one, and where they come from."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from synjax import checkpoint
from synjax.report.runs import CHECKPOINTS, Group, Run, group_runs

PROVENANCE = (
  *("run", "protocol", "seeds", "data", "steps", "selection rule", "hardware", "seconds", "code"),
)
NOT_AVAILABLE = "n/a"
OTHER_METRICS = {
  "knn_macro_accuracy": "k-NN macro accuracy",
  "accuracy": "top-1 (chance: the largest class' share)",
  "auroc": "AUROC (chance 50.0)",
}


def format_table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
  """Formats a Markdown table."""
  lines = [header, ["---"] * len(header), *rows]
  return "\n".join(
    "| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines
  )


def format_score(rows: Sequence[Mapping[str, Any]], which: str, names: Sequence[str]) -> str:
  """Formats the mean over `names` of a score, in %.

  Args:
    rows: one a seed.
    which: "best" or "last".
    names: metrics with values in [0, 1], averaged within a seed.

  Returns:
    "mean ± std" over seeds, std with ddof 1; of one seed the std is "n/a" and the
    95 % interval follows where `<name>_low` and `<name>_high` give it (an average of names has none).
  """
  if not all(name in row[which] for row in rows for name in names):
    return NOT_AVAILABLE
  values = 100 * np.mean([[row[which][name] for name in names] for row in rows], axis=1)
  if len(values) > 1:
    return f"{values.mean():.1f} ± {values.std(ddof=1):.1f}"
  ends = [rows[0][which].get(f"{names[0]}_{end}") for end in ("low", "high")]
  known = len(names) == 1 and None not in ends
  suffix = f" (95 % {100 * ends[0]:.1f} to {100 * ends[1]:.1f})" if known else ""
  return f"{values[0]:.1f} ± {NOT_AVAILABLE}{suffix}"


def _columns(groups: Sequence[Group], benchmark) -> list[tuple[str, str | None, tuple[str, ...]]]:
  """Returns (header, published column or None, tasks averaged in it), chance in every header."""
  chance = groups[0].chance({})
  percent = lambda tasks: f"(chance {100 * np.mean([chance[t] for t in tasks]):.1f})"  # noqa: E731
  columns, taken = [], set()
  for name, column in benchmark.columns.items() if benchmark else ():
    tasks = column.tasks
    if not set(tasks) <= set(chance):
      continue
    taken |= set(tasks)
    if len(tasks) == 1:
      known_as = name if name == tasks[0] else f"{name}: {tasks[0]}"
      columns.append((f"{known_as} {percent(tasks)}", name, tasks))
    else:
      columns += [(f"{task} {percent((task,))}", None, (task,)) for task in tasks]
      columns.append((f"{name}: mean of {', '.join(tasks)} {percent(tasks)}", name, tasks))
  rest = [task for task in chance if task not in taken]
  return columns + [(f"{task} {percent((task,))}", None, (task,)) for task in rest]


def _result_rows(group: Group, columns) -> list[list[str]]:
  rows = []
  for which in CHECKPOINTS:
    scores = [
      format_score(group.rows, which, [f"test/{task}/macro_accuracy" for task in tasks])
      for _, _, tasks in columns
    ]
    rows.append([group.label, which, group.config["protocol"], str(len(group.rows)), group.data])
    rows[-1] += scores
  return rows


def _paper_row(method: str, benchmark, columns) -> list[str]:
  def cell(name):
    if name is None:
      return "-"
    if name not in benchmark.rows[method]:
      return NOT_AVAILABLE
    mean, std = benchmark.rows[method][name]
    return f"{mean:.1f} ± {NOT_AVAILABLE if std is None else f'{std:.1f}'}"

  setting = benchmark.setting
  start = [f"paper: {method}", "-", str(setting.get("protocol", "-"))]
  size = setting.get("data.resolution")
  data = "as published" + (f", {size} px" if size else "")
  return [*start, str(setting.get("num_seeds", "-")), data, *(cell(name) for _, name, _ in columns)]


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
  differing = [
    f"{name} {group.field(name)} (published {value})"
    for name, value in benchmark.setting.items()
    if group.field(name) != value
  ]
  size = (
    f"NOT of the published size or protocol: {', '.join(differing)}"
    if differing
    else ("of the published size and protocol")
  )
  elsewhere: dict[str, list[str]] = {}
  for name, column in benchmark.columns.items():
    for field, value in column.setting.items():
      if group.field(field) != value:
        elsewhere.setdefault(f"{field} = {value}", []).append(name)
  return [f"{group.label} is {size}."] + [
    f"{group.label}: the published {', '.join(names)} come from runs with {setting}, which this run"
    " does not have: another experiment, not to be compared."
    for setting, names in elsewhere.items()
  ]


def _dataset_table(groups: Sequence[Group], benchmark) -> str:
  """Returns results, provenance and notes of the finished groups of one dataset."""
  columns = _columns(groups, benchmark)
  header = ["run", "checkpoint", "protocol", "seeds", "data", *(name for name, _, _ in columns)]
  methods = dict.fromkeys(group.method for group in groups)
  rows, notes = [], []
  for method in methods:
    for group in groups:
      if group.method == method:
        rows += _result_rows(group, columns)
        notes += _comparability(group, benchmark) if benchmark else []
    if benchmark and method in benchmark.rows:
      rows.append(_paper_row(method, benchmark, columns))
    else:
      notes.append(
        f"{method}: no published numbers for {groups[0].dataset} are known to this report."
      )
  if benchmark:
    notes.append(f"Paper rows: {benchmark.source}.")
    notes += [
      f"{name}: {column.note}." for name, column in benchmark.columns.items() if column.note
    ]
  for group in groups[1:]:
    changes = checkpoint.config_differences(groups[0].runs[0].experiment, group.runs[0].experiment)
    notes.append(
      f"{group.label} differs from {groups[0].label}: {'; '.join(changes) or 'data only'}."
    )
  return "\n\n".join(
    [
      "Macro accuracy on the test split in %: mean ± std (ddof 1) over seeds; of one seed, the"
      " 95 % interval over test examples.",
      format_table(header, rows),
      format_table(PROVENANCE, [_provenance_row(group) for group in groups]),
      "\n".join(f"* {note}" for note in notes),
    ]
  )


def markdown_table(runs: Sequence[Run], published: Mapping[str, Any]) -> str:
  """Makes the tables of some runs, one section a dataset.

  Args:
    runs: finished or not; of the unfinished ones, only how far they are is said.
    published: dataset -> published numbers, as `configs.published.ROWS`.

  Returns:
    Markdown. Accuracies are macro accuracies in %, with chance in the column's header; a row of the
    selected ("best") and of the last parameters for each group of seeds, then the paper's row.

  Raises:
    ValueError: a seed of a config is there twice.
  """
  groups = group_runs(runs)
  finished = [group for group in groups if group.rows]
  sections = [
    f"## {dataset}\n\n"
    + _dataset_table([g for g in finished if g.dataset == dataset], published.get(dataset))
    for dataset in dict.fromkeys(group.dataset for group in finished)
  ]
  unfinished = [
    f"* {group.label}, {group.data}, `{run.workdir}`: {run.progress}"
    for group in groups
    if not group.rows
    for run in group.runs
  ]
  if unfinished:
    sections.append("## Unfinished\n\n" + "\n".join(unfinished))
  return "\n\n".join(sections)


def other_scores(group: Group) -> str:
  """Returns a table of everything else that was measured on the test split, one row a task."""
  chance, known = group.chance({}), group.rows[0][CHECKPOINTS[0]]
  missing = sorted({n.split("/")[1] for n in known if n.startswith("test/without_")})
  header = ["checkpoint", "task", "chance", "macro accuracy", *OTHER_METRICS.values()]
  header += [f"macro accuracy {name.replace('_', ' ', 1)}" for name in missing]
  rows = []
  for which in CHECKPOINTS:
    for task, level in chance.items():
      names = [f"test/{task}/{metric}" for metric in ("macro_accuracy", *OTHER_METRICS)]
      names += [f"test/{subset}/{task}/macro_accuracy" for subset in missing]
      cells = [format_score(group.rows, which, [name]) for name in names]
      rows.append([which, task, f"{100 * level:.1f}", *cells])
  return format_table(header, rows)
