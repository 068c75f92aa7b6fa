"""Names of scores: "<split>/<task>/<metric>", and the rule that selects by one; taken apart only here."""

from collections.abc import Iterable
from typing import Any, NamedTuple

SPLITS = ("train_split", "val", "test", "subset")
WITHOUT = "without_"
_BASELINE = "baseline"
_RENAMED = {"trifeature": {"share": "redundancy"}}  # dataset -> tasks of older versions -> of today


class Score(NamedTuple):
  """What a score is of.

  Attributes:
    split: "train_split", "val", "test"; "subset" is the test split, seen through some modalities.
    task: label, "label" of a classifier, of arrays their name; "mean" over tasks.
    metric: such as "macro_accuracy", or on a part of the examples "synergy/accuracy".
    modalities: that are seen: "without_text" of the test split, "text+audio" of subset; "": all.
  """

  split: str
  task: str
  metric: str
  modalities: str = ""

  def __str__(self) -> str:
    return "/".join(filter(None, (self.split, self.modalities, self.task, self.metric)))

  @property
  def part(self) -> str:
    """The examples that it is of: the source of the label, "synergy_subset"; "": all."""
    return self.metric.rpartition("/")[0]

  @property
  def kind(self) -> str:
    """The metric by itself, whatever examples it is of."""
    return kind_of(self.metric)


class Baseline(NamedTuple):
  """A model that a run is compared with.

  Attributes:
    model: its name, see `evaluators.baselines`.
    modalities: that it sees, "text+audio"; "": all that the run does.
  """

  model: str
  modalities: str = ""

  def score(self, task: str, metric: str) -> str:
    """Returns the name of its score on the test split: "test/label/baseline/logistic/text/accuracy"."""
    return str(Score("test", task, "/".join(filter(None, (_BASELINE, *self, metric)))))


def baseline_of(score: Score) -> Baseline | None:
  """Returns the baseline that a score is of; None: it is of the run itself."""
  first, _, rest = score.part.partition("/")
  model, _, modalities = rest.partition("/")
  return Baseline(model, modalities) if first == _BASELINE and model else None


def parse(name: str) -> Score | None:
  """Takes the name of a score apart; None: of something else that is logged, such as "train/loss"."""
  split, *rest = name.split("/")
  if split not in SPLITS or len(rest) < 2:
    return None
  seen = split == "subset" or (rest[0].startswith(WITHOUT) and len(rest) > 2)
  if seen and len(rest) < 3:
    return None
  modalities = rest.pop(0) if seen else ""
  return Score(split, rest[0], "/".join(rest[1:]), modalities)


def learned_in(names: Iterable[str]) -> str:
  """Returns the task that a classifier's scores are of: of these alone there is a cross-entropy."""
  found = filter(None, map(parse, names))
  return next((s.task for s in found if s == Score("test", s.task, "cross_entropy")), "label")


def full_name(name: str, split: str, modalities: str = "") -> str:
  """Returns the name of a score of a split, given "<task>/<metric>" as estimators name it."""
  task, _, metric = name.partition("/")
  return str(Score(split, task, metric, modalities))


def split_of(name: str) -> str:
  """Returns the split that a score is of; "" of something else that is logged."""
  score = parse(name)
  return score.split if score else ""


def kind_of(name: str) -> str:
  """Returns the last word of a metric's name, whatever it is of: "accuracy" of "val/label/accuracy"."""
  return name.rpartition("/")[2]


def parse_rule(select_metric: str) -> tuple[str, int]:
  """Splits `config.select_metric` into the metric's name and the sign that makes higher better.

  Args:
    select_metric: "val/label/accuracy", or "-val/score/mse" where lower is better.

  Returns:
    The name without the minus; 1, or -1 with it.
  """
  name = select_metric.removeprefix("-")
  return name, 1 if name == select_metric else -1


def todays_names(tree: Any, dataset: str) -> Any:
  """Returns JSON of a run with today's names of tasks, wherever an older version wrote others.

  Args:
    tree: what was read: a task, a score or a rule is renamed as a key and as a value.
    dataset: name of the run's data.
  """
  renamed = _RENAMED.get(dataset)
  if not renamed:
    return tree
  if isinstance(tree, dict):
    return {todays_names(k, dataset): todays_names(value, dataset) for k, value in tree.items()}
  if isinstance(tree, list):
    return [todays_names(value, dataset) for value in tree]
  if not isinstance(tree, str):
    return tree
  score = parse(tree.removeprefix("-"))
  if score is None:
    return renamed.get(tree, tree)
  sign = "-" if tree.startswith("-") else ""
  return sign + str(score._replace(task=renamed.get(score.task, score.task)))


def successor(name: str, dataset: str) -> str:
  """Returns what an error about an unknown task or score adds: what it is called now; "" if nothing."""
  today = todays_names(name, dataset)
  return "" if today == name else f"; it is called {today!r} now"
