"""The scores that `launch.evaluate` prints, as tables of a terminal."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

from synjax.report import degenerate, units
from synjax.report.cells import Value
from synjax.workdir.scores import WITHOUT, Score, parse

_ENDS = ("_low", "_high", "_null", "_null_std")  # of what stands beside its score
_OF_A_FIT = ("cost", "converged", "alpha")  # how a probe was fitted
_ERRORS = {"mse": "mse", "mean_mse": "mse of the mean label"}  # squared; "mse_1e4" is one again
_LEADING = ("macro_accuracy", "mse")  # by which subsets of the modalities are compared
_MEAN = "mean"  # over tasks
_DIGITS = 3  # of what is no fraction


def render(
  scores: Mapping[str, Mapping[str, float]], *, chance: Mapping[str, float], dataset: str
) -> str:
  """Makes the tables of scores.

  Args:
    scores: name, as of `workdir.scores`, -> trial -> value.
    chance: task -> chance level of its macro accuracy.
    dataset: its name, for the unit of squared errors.

  Returns:
    A table of the tasks, one of the subsets of the modalities, and a list of all else that was scored.
    Fractions are in %; mean ± std (ddof 1) over seeds where there are several, and the 95 % interval over
    test examples in brackets, and of modalities where it is not above chance. How probes were fitted is
    left out; what is left without a modality is left out where subsets were scored, which have it.
  """
  names = list(dict.fromkeys(trial for values in scores.values() for trial in values))
  shown = _Shown(
    [{n: v[trial] for n, v in scores.items() if trial in v} for trial in names], dataset
  )
  found = [score for score in map(parse, scores) if score and _is_shown(score, scores)]
  if len({score.task for score in found} - {_MEAN}) == 1:  # it says the same again
    found = [score for score in found if score.task != _MEAN]
  whole = [score for score in found if not score.modalities and not score.part]
  seen = [score for score in found if score.modalities and score.metric in _LEADING]
  if any(score.split == "subset" for score in seen):
    seen = [score for score in seen if score.split == "subset"]
  rest = [score for score in found if score.part and not score.modalities]
  over = f"mean ± std over {len(names)} seeds, " if len(names) > 1 else ""
  parts = [f"test split, accuracies in %: {over}[95 % interval over test examples]"]
  parts += [_of_tasks(own, chance, shown) for own in _by_kind(whole)]
  parts += [_of_modalities(own, chance, shown) for own in _by_kind(seen)]
  parts += [_align([[_name(score), shown.cell(score)] for score in rest])] if rest else []
  return "\n\n".join(parts)


@dataclasses.dataclass(frozen=True)
class _Shown:
  """How scores look.

  Attributes:
    trials: one a seed: score -> value.
    dataset: that they are of.
  """

  trials: Sequence[Mapping[str, float]]
  dataset: str

  def cell(self, score: Score) -> str:
    """Formats a score over the trials that have it."""
    own = [trial for trial in self.trials if str(score) in trial]
    if units.is_fraction(score.metric):
      return str(Value.of(own, str(score), 100, 1))
    scale = units.error_scale(self.dataset) if score.metric in _ERRORS else 1.0
    value = Value.of(own, str(score), scale)
    text = str(value._replace(digits=_digits(value.mean)))
    return f"{text} bits{_beside(own, score)}" if score.part == "pid" else text

  def mark(self, score: Score, chance: float | None) -> str:
    """Returns `degenerate.mark` of a score; only macro accuracies have a chance."""
    level = chance if score.metric.endswith("macro_accuracy") else None
    return degenerate.mark(self.trials, str(score), level)

  def holds(self, score: Score, level: float | None) -> bool:
    """Says whether a level is in the 95 % interval over test examples, or above it."""
    lows = [trial[f"{score}_low"] for trial in self.trials if f"{score}_low" in trial]
    return level is not None and bool(lows) and sum(lows) / len(lows) <= level

  def left_out(self, score: Score) -> str:
    """Says how many test examples have none of the modalities, if any lack them."""
    count = self.trials[0].get(str(score._replace(metric="left_out")), 0)
    return f", {count:.0f} left out" if count else ""

  def title(self, metric: str) -> str:
    """Names a metric for people, with the unit of squared errors."""
    if metric in _ERRORS:
      return _ERRORS[metric] + units.error_name(self.dataset).removeprefix("MSE")
    return _words(metric)


def _beside(trials: Sequence[Mapping[str, float]], score: Score) -> str:
  """Says what shuffled labels give in place of bits, where that is known."""
  null, std = (Value.of(trials, f"{score}_null{end}").mean for end in ("", "_std"))
  return "" if math.isnan(null) else f", of shuffled labels {null:.3g} ± {std:.3g}"


def _is_shown(score: Score, scores: Iterable[str]) -> bool:
  """Says whether a score stands in a table by itself."""
  end = next((end for end in _ENDS if score.metric.endswith(end)), None)
  beside = end and str(score).removesuffix(end) in scores
  return not beside and score.kind not in (*_OF_A_FIT, "mse_1e4")


def _by_kind(scores: Sequence[Score]) -> list[list[Score]]:
  """Returns the scores of tasks with classes, then those of regressions; what is empty is left out."""
  numbers = {score.task for score in scores if score.metric == "mse"}
  kinds = [[s for s in scores if (s.task in numbers) == is_number] for is_number in (False, True)]
  return [kind for kind in kinds if kind]


def _of_tasks(scores: Sequence[Score], chance: Mapping[str, float], shown: _Shown) -> str:
  """Makes the table of what all modalities give: a row a task, a column a metric."""
  metrics = dict.fromkeys(score.metric for score in scores)
  cells = {(s.task, s.metric): shown.cell(s) + shown.mark(s, chance.get(s.task)) for s in scores}
  rows = [["task", "chance", *map(shown.title, metrics)]]
  for task in dict.fromkeys(score.task for score in scores):
    level = f"{100 * chance[task]:.1f}" if task in chance else "-"
    rows.append([task, level, *(cells.get((task, metric), "-") for metric in metrics)])
  if not any(score.task in chance for score in scores):
    rows = [[first, *others] for first, _, *others in rows]
  return _align(rows)


def _of_modalities(scores: Sequence[Score], chance: Mapping[str, float], shown: _Shown) -> str:
  """Makes the table of the modalities that are seen: a row for each choice, a column a task."""
  tasks = dict.fromkeys(score.task for score in scores)
  cells = {
    (s.modalities, s.task): shown.cell(s)
    + ", not above chance" * shown.holds(s, chance.get(s.task))
    + shown.left_out(s)
    for s in scores
  }
  rows = [[f"{shown.title(scores[0].metric)} with", *tasks]]
  for seen in dict.fromkeys(score.modalities for score in scores):
    without = seen.startswith(WITHOUT)
    words = f"all without {seen.removeprefix(WITHOUT)}" if without else seen.replace("+", " + ")
    rows.append([words, *(cells.get((seen, task), "-") for task in tasks)])
  return _align(rows)


def _words(metric: str) -> str:
  return metric.replace("knn_", "k-NN ").replace("_", " ").replace("/", " ")


def _name(score: Score) -> str:
  return f"{score.task}: {_words(score.metric)}"


def _digits(value: float) -> int:
  """Returns how many digits stand behind the point: three in all, none of a count."""
  if not math.isfinite(value) or value == round(value):
    return 0
  return max(0, _DIGITS - 1 - math.floor(math.log10(abs(value))))


def _align(rows: Sequence[Sequence[str]]) -> str:
  """Returns a table with columns of equal width, two spaces apart."""
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  padded = (
    "  ".join(f"{cell:{width}s}" for cell, width in zip(row, widths, strict=True)) for row in rows
  )
  return "\n".join(map(str.rstrip, padded))
