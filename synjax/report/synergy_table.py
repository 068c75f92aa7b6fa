"""The table of the synergy subset, from what `launch.evaluate --unimodal` wrote into the workdirs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from synjax.report.cells import NOT_AVAILABLE, format_score
from synjax.report.runs import Group
from synjax.report.sections import Section, Table, Text
from synjax.workdir.scores import Score

PREFIX = str(Score("test", "label", "synergy_subset/"))
ABOUT = (
  "Synergy subset: accuracy in % on the test examples that every unimodal model gets wrong, mean ± std"
  " (ddof 1) over seeds, each with unimodal models of its own; of one seed, the 95 % interval over these"
  " examples. Permuted labels: the same predictions against the subset's labels in random order, mean and"
  " 95 % interval (of several seeds, means of the ends); an accuracy inside has nothing to do with the"
  " labels. Opposite vote: the class that the unimodal models like least."
)
HEADER = (
  *(
    "run",
    "checkpoint",
    "seeds",
    "examples",
    "chance",
    "accuracy",
    "permuted labels",
    "opposite vote",
  ),
  "unimodal models",
)


def synergy_sections(groups: Sequence[Group]) -> list[Section]:
  """Makes the table of the groups whose runs were scored on it; nothing where none was."""
  rows = [row for group in groups for row in _rows(group)]
  return [Text(ABOUT), Table(HEADER, rows)] if rows else []


def _rows(group: Group) -> list[list[str]]:
  """Returns a row for each checkpoint that was scored."""
  scored = [run.evaluation for run in group.runs if run.evaluation]
  scored = [found for found in scored if f"{PREFIX}accuracy" in found["scores"]]
  return [
    _row(group, which, [found for found in scored if found["which"] == which])
    for which in dict.fromkeys(found["which"] for found in scored)
  ]


def _row(group: Group, which: str, scored: Sequence[Mapping[str, Any]]) -> list[str]:
  trials = [
    {which: {name: values[trial] for name, values in found["scores"].items() if trial in values}}
    for found in scored
    for trial in found["scores"][f"{PREFIX}accuracy"]
  ]
  full = [trial for trial in trials if trial[which][f"{PREFIX}size"] > 0]
  sizes = sorted({int(trial[which][f"{PREFIX}size"]) for trial in trials})
  seeds = str(len(full)) + (f", empty for {len(trials) - len(full)}" if full != trials else "")
  score = lambda name: format_score(full, which, [f"{PREFIX}{name}"]) if full else NOT_AVAILABLE  # noqa: E731
  return [
    group.label,
    group.checkpoints.get(which, which),
    seeds,
    f"{sizes[0]}" if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}",
    f"{100 * trials[0][which][f'{PREFIX}chance']:.1f}",
    score("accuracy"),
    _permuted(full, which),
    score("flipped"),
    "; ".join(dict.fromkeys(text for found in scored for text in _models(found["unimodal"] or {}))),
  ]


def _permuted(trials: Sequence[Mapping[str, Any]], which: str) -> str:
  if not trials:
    return NOT_AVAILABLE
  ends = [
    100 * np.mean([trial[which][f"{PREFIX}permuted{end}"] for trial in trials])
    for end in ("", "_low", "_high")
  ]
  return "{:.1f} ({:.1f} to {:.1f})".format(*ends)


def _models(unimodal: Mapping[str, Any]) -> list[str]:
  """Says for each modality where its model comes from."""
  lines = []
  for name, found in unimodal.items():
    steps = sorted({trial["step"] for trial in found["trials"].values()})
    at = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
    lines.append(
      f"{name}: {found['method']}, config {found['config_hash']}, step {at}, {found['selection']}"
    )
  return lines
