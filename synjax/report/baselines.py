"""Runs beside the baselines of `evaluators.baselines`: a table, and in words which they do not beat."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from synjax.report import units
from synjax.report.cells import NOT_AVAILABLE, Value
from synjax.report.runs import Group
from synjax.report.sections import Points, Section, Table, Text
from synjax.workdir import scores
from synjax.workdir.scores import Baseline, Score

SIS = (
  "SIS = (all modalities - best single one) / best single one, in %; where all modalities are not above"
  " chance it means nothing and is left out."
)
AT_CHANCE = "at chance"
ABOUT = (
  "Baselines on the same splits: {metric} on the test split, mean ± std (ddof 1) over seeds and, in"
  " brackets, the 95 % interval over test examples (of several seeds, means of the ends). Raw features"
  " are standardised on training statistics{sequences}. Costs are chosen on the validation split; nearest"
  f" neighbours vote with weights, as in the runs' own k-NN score. {SIS}"
)
SEQUENCES = (
  "; a sequence is mean, deviation, minimum and maximum of each feature over its real steps"
)
RULE = (
  'How to read what follows: "clearly" is said where two intervals do not overlap. (Both are of the same'
  " test examples: a difference may be there although they do.)"
)
# Encoders of sequences. "mlp" and "dense_relu" take vectors, the others one image each.
SEQUENCE_ENCODERS = ("gru", "sequence_transformer", "force", "proprioception")
GUESSES = ("majority", "mean_label")  # look at no example
BRACKETS = (
  "In brackets here: the 95 % interval over test examples (of several seeds, means of the ends)."
)
_NAMES = {
  "majority": "majority class",
  "mean_label": "mean label",
  "logistic": "logistic regression on raw features",
  "ridge": "ridge regression on raw features",
  "knn": "{neighbors}-NN on raw features",
  "random_encoder": "its own encoder at random initialisation",
}


@dataclasses.dataclass(frozen=True)
class Contestant:
  """Runs of one config on one dataset: what stands beside the baselines.

  Attributes:
    label: that names them.
    data: fingerprint of their data.
    config: of one of them.
    rows: one a seed, see results.json.
    chance: task -> chance level of macro accuracy.
    which: "best" or "last".
  """

  label: str
  data: str
  config: Mapping[str, Any]
  rows: Sequence[Mapping[str, Any]]
  chance: Mapping[str, float]
  which: str = "best"

  @property
  def reader(self) -> str:
    """What the score is of."""
    return "classifier" if "classification" in self.config.get("evaluators", ()) else "probe"

  @property
  def errors(self) -> list[str]:
    """Regressions that were scored."""
    found = [scores.parse(name) for name in self.rows[0][self.which]]
    return [s.task for s in found if s and s == Score("test", s.task, "mse")]

  @property
  def several(self) -> list[str]:
    """Tasks any of whose labels an example may have: of these alone there is F1 weighted by label."""
    found = [scores.parse(name) for name in self.rows[0][self.which]]
    return [s.task for s in found if s and s == Score("test", s.task, "weighted_f1")]

  @property
  def baselines(self) -> list[Baseline]:
    """The baselines that were scored, those of one model together."""
    parsed = filter(None, map(scores.parse, self.rows[0][self.which]))
    found = list(dict.fromkeys(filter(None, map(scores.baseline_of, parsed))))
    models = list(dict.fromkeys(baseline.model for baseline in found))
    return sorted(found, key=lambda baseline: models.index(baseline.model))

  def value(self, name: str, scale: float, digits: int) -> Value:
    """Returns a score; NaN where a seed lacks it."""
    return Value.of([row[self.which] for row in self.rows], name, scale, digits)


@dataclasses.dataclass(frozen=True)
class _Metric:
  """How tasks of one kind are scored.

  Attributes:
    name: of the metric.
    title: for people.
    scale: what it is multiplied with.
    digits: behind the point.
    sign: 1 where higher is better, else -1.
    said: what stands behind a task that it is of; "": the metric goes without saying.
  """

  name: str
  title: str
  scale: float
  digits: int
  sign: int
  said: str = ""

  def of(self, contestant: Contestant, task: str, baseline: Baseline | None = None) -> Value:
    """Returns the score of a contestant, or of one of its baselines."""
    own = str(Score("test", task, self.name))
    name = own if baseline is None else baseline.score(task, self.name)
    return contestant.value(name, self.scale, self.digits)


ACCURACY = _Metric("macro_accuracy", "macro accuracy in %", 100, 1, 1)
F1 = (
  _Metric("macro_f1", "macro F1 in %", 100, 1, 1, ", macro F1"),
  _Metric("weighted_f1", "weighted F1 in %", 100, 1, 1, ", weighted F1"),
)
ABOUT_F1 = (
  "F1 of several labels an example, in %, on the same splits: macro is the mean over the labels, weighted"
  " counts a label by how many examples have it. The majority class says of each label what most training"
  " examples have: a run below it is worse than one that looks at no example. F1 has no interval here."
)


def contestants(groups: Sequence[Group]) -> list[Contestant]:
  """Returns the finished groups of a report as contestants."""
  return [
    Contestant(
      group.label,
      group.runs[0].results["data_fingerprint"],
      group.config,
      group.rows,
      group.chance,
    )
    for group in groups
  ]


def baseline_sections(found: Sequence[Contestant], *, scores_too: bool = True) -> list[Section]:
  """Makes the tables and the verdicts of contestants, data by data; nothing where none has baselines.

  Args:
    found: the contestants.
    scores_too: False: another table has the scores, and only SIS and verdicts are wanted.
  """
  sections: list[Section] = []
  scored = [one for one in found if one.baselines]
  for data in dict.fromkeys(one.data for one in scored):
    same = [one for one in scored if one.data == data]
    classes = list(_levels(same))
    sections += _sections(same, ACCURACY, classes, scores_too) if classes else []
    sections += _f1_sections(same, scores_too)
    dataset = same[0].config["data"]["name"]
    scale = units.error_scale(dataset)
    error = _Metric("mse", units.error_name(dataset), scale, 2 if scale != 1 else 4, -1)
    errors = list(dict.fromkeys(task for one in same for task in one.errors))
    sections += _sections(same, error, errors, scores_too) if errors else []
  return sections


def _levels(same: Sequence[Contestant]) -> dict[str, float]:
  """Returns task -> chance level of all that any was scored on: a classifier is on one alone."""
  return {task: level for one in same for task, level in one.chance.items()}


def _sections(
  same: Sequence[Contestant], metric: _Metric, tasks: Sequence[str], scores_too: bool
) -> list[Section]:
  """Returns text, table and verdicts of the tasks of one kind on one dataset."""
  verdicts = [verdict(one, metric, task) for one in same for task in tasks]
  header, gains = ["score of", "modalities", *tasks], _gains(same, tasks) if metric.sign > 0 else []
  table: list[Section] = []
  if scores_too:
    sequences = SEQUENCES if any(map(_has_sequences, same)) else ""
    about = ABOUT.format(metric=metric.title, sequences=sequences)
    table = [Text(about), Table(header, _rows(same, [(metric, task) for task in tasks]) + gains)]
  elif gains:
    table = [Text(SIS), Table(header, gains)]
  rule = RULE if scores_too else f"{RULE} {BRACKETS}"
  return [*table, Text(rule), Points(list(filter(None, verdicts)))]


def _f1_sections(same: Sequence[Contestant], scores_too: bool) -> list[Section]:
  """Returns text, table and verdicts of F1; nothing where no task has several labels an example."""
  tasks = dict.fromkeys(task for one in same for task in one.several)
  columns = [(metric, task) for task in tasks for metric in F1]
  if not columns:
    return []
  header = ["score of", "modalities", *(f"{task}{metric.said}" for metric, task in columns)]
  table = [Table(header, _rows(same, columns))] if scores_too else []
  verdicts = [verdict(one, metric, task) for one in same for metric, task in columns]
  return [Text(ABOUT_F1), *table, Points(list(filter(None, verdicts)))]


def _rows(same: Sequence[Contestant], columns: Sequence[tuple[_Metric, str]]) -> list[list[str]]:
  """Returns a row for each contestant, for chance where it is known, and for each baseline."""
  first = same[0]
  rows = [
    [f"{one.label}, {one.reader}", "all", *(str(metric.of(one, task)) for metric, task in columns)]
    for one in same
  ]
  if all(metric is ACCURACY for metric, _ in columns):
    levels = _levels(same)
    rows.append(["chance", "none", *(f"{100 * levels[task]:.1f}" for _, task in columns)])
  for baseline in first.baselines:
    for one in same if baseline.model == "random_encoder" else [first]:
      cells = [str(metric.of(one, task, baseline)) for metric, task in columns]
      if any(cell != NOT_AVAILABLE for cell in cells):
        of = f" ({one.label})" if baseline.model == "random_encoder" else ""
        rows.append([f"{name_of(baseline, one.config)}{of}", _seen(baseline), *cells])
  return rows


def _gains(same: Sequence[Contestant], tasks: Sequence[str]) -> list[list[str]]:
  """Returns the rows of SIS, of what it is known of."""
  logistic = Baseline("logistic")
  of: list[tuple[str, Contestant, Baseline | None]] = [
    (f"{one.label}, {one.reader}", one, None) for one in same
  ]
  of.append((name_of(logistic, same[0].config), same[0], logistic))
  rows, levels = [], _levels(same)
  for label, one, baseline in of:
    cells = [_gain(one, task, baseline, levels.get(task, 0)) for task in tasks]
    if any(cell not in (NOT_AVAILABLE, AT_CHANCE) for cell in cells):
      rows.append([f"SIS of {label}", "all against each", *cells])
  return rows


def _gain(one: Contestant, task: str, baseline: Baseline | None, level: float) -> str:
  """Returns a cell of SIS: of numbers that are not above chance it is no gain."""
  name = str(Score("test", task, "sis")) if baseline is None else baseline.score(task, "sis")
  whole, chance = ACCURACY.of(one, task, baseline), 100 * level
  found = str(one.value(name, 100, 1))
  # Half a digit: the interval of a constant classifier is above chance by rounding.
  return AT_CHANCE if found != NOT_AVAILABLE and whole.low <= chance + 0.05 else found


def _has_sequences(one: Contestant) -> bool:
  """Says whether a modality may be a sequence: an encoder of its run takes neither images nor vectors."""
  known = one.config.get("model", {}).get("modalities", {}).values()
  return not known or any(m["encoder"]["name"] in SEQUENCE_ENCODERS for m in known)


def name_of(baseline: Baseline, config: Mapping[str, Any]) -> str:
  """Names the model of a baseline of a run with this config, whatever it sees."""
  neighbors = config.get("probe", {}).get("neighbors", 20)
  return _NAMES.get(baseline.model, baseline.model).format(neighbors=neighbors)


def _seen(baseline: Baseline) -> str:
  return "none" if baseline.model in GUESSES else baseline.modalities or "all"


def verdict(one: Contestant, metric: _Metric, task: str) -> str:
  """Says in words which baselines a contestant does not beat, of each kind the best; "": not scored."""
  own = metric.of(one, task)
  rivals = _rivals(one, metric, task)
  if math.isnan(own.mean) or not rivals:
    return ""
  better = "above" if metric.sign > 0 else "below"
  lost = {n: v for n, v in rivals.items() if metric.sign * (own.mean - v.mean) <= 0}
  unclear = {n: v for n, v in rivals.items() if n not in lost and not _apart(own, v, metric.sign)}
  list_ = lambda found: ", ".join(f"{name} {value}" for name, value in found.items())  # noqa: E731
  start = f"{one.label}: {task}{metric.said}: {one.reader} {own}"
  parts = [f"is not {better} {list_(lost)}"] * bool(lost)
  parts += [f"is not clearly {better} {list_(unclear)}"] * bool(unclear)
  if parts:
    return f"{start} {', and '.join(parts)}."
  name, value = next(iter(rivals.items()))
  return f"{start} is {better} all baselines, the best of which is {name} {value}."


def _apart(own: Value, other: Value, sign: int) -> bool:
  """Says whether the interval of the better value does not reach that of the other."""
  return own.low > other.high if sign > 0 else own.high < other.low


def _rivals(one: Contestant, metric: _Metric, task: str) -> dict[str, Value]:
  """Returns name -> score of what must be beaten, of each kind of model the best, the best one first."""
  best: dict[str, tuple[Baseline, Value]] = {}
  for baseline in one.baselines:
    value = metric.of(one, task, baseline)
    known = best.get(baseline.model)
    if math.isnan(value.mean):
      continue
    if known is None or metric.sign * (value.mean - known[1].mean) > 0:
      best[baseline.model] = (baseline, value)
  ordered = sorted(best.values(), key=lambda pair: -metric.sign * pair[1].mean)
  named = {}
  for baseline, value in ordered:
    alone = f" ({baseline.modalities} alone)" if baseline.modalities else ""
    named[f"{name_of(baseline, one.config)}{alone}"] = value
  if metric is ACCURACY and "majority" not in best and task in one.chance:
    level = 100 * one.chance[task]
    named["chance"] = Value(level, level, level)
  return named
