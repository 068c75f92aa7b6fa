"""Comparisons of hand-written rows against SciPy's intervals and differences by NumPy."""

import math

import numpy as np
import pytest
from scipy import stats

from synjax.report.comparison import Column, Comparison, Entrant, Run, chance_levels, t_interval

RAW = "test/label/baseline"
PROBED = {"method": {"name": "comm"}, "evaluators": ["representation"], "data": {"name": "arrays"}}
LABEL = Column("label", ("label",), chance=50.0)


def entrant(label, values, config=PROBED, ends=None, extra=None, start=0):
  """Runs of seeds start, start + 1, ... with these macro accuracies."""
  runs = []
  for seed, value in enumerate(values, start):
    found = {"test/label/macro_accuracy": value} | (extra or {})
    if ends:
      found |= {f"test/label/macro_accuracy_{k}": v for k, v in ends.items()}
    runs.append(Run(seed, config, found))
  return Entrant(label, runs, len(runs))


def compare(*entrants, columns=(LABEL,), tasks=("label",)):
  return Comparison(entrants, columns, tasks)


def by_label(comparison):
  return {line.label: line for line in comparison.lines}


A = (0.80, 0.82, 0.90, 0.85, 0.83)
B = (0.60, 0.62, 0.64, 0.66, 0.68)


def test_intervals_are_students():
  low, high = t_interval(A)
  expected = stats.t.interval(0.95, 4, np.mean(A), stats.sem(A))
  np.testing.assert_allclose((low, high), expected, rtol=1e-12)
  # By hand: 1, 2, 3 have mean 2, std 1; t(0.975, 2) = 4.302653, half = 4.302653 / sqrt(3).
  np.testing.assert_allclose(t_interval([1, 2, 3]), (2 - 2.484138, 2 + 2.484138), atol=1e-6)
  assert all(map(math.isnan, t_interval([1.0])))


def test_a_cell_is_of_seeds_that_differ_or_else_of_test_examples():
  ends = {"low": 0.7, "high": 0.9}
  found = compare(
    entrant("A", A, ends=ends), entrant("C", (0.5, 0.5), ends=ends), entrant("D", [0.4])
  )
  a, c, d, chance = (found.value(line, 0) for line in found.lines)
  expected = 100 * np.array(stats.t.interval(0.95, 4, np.mean(A), stats.sem(A)))
  np.testing.assert_allclose((a.low, a.high), expected)
  np.testing.assert_allclose((a.mean, a.std), (84.0, 100 * np.std(A, ddof=1)))
  np.testing.assert_allclose((c.low, c.high), (70.0, 90.0))
  assert math.isnan(c.std) and math.isnan(d.low) and d.mean == 40.0
  assert (chance.mean, chance.low, chance.high) == (50.0, 50.0, 50.0)


def test_an_interval_holds_no_accuracy_above_one_and_no_error_below_zero():
  found = compare(entrant("A", (0.9, 0.99)))
  assert (found.value(found.lines[0], 0).high, t_interval((90, 99))[1] > 100) == (100, True)
  runs = [Run(i, PROBED, {"test/score/mse": value}) for i, value in enumerate((1.0, 2.0))]
  error = Column("score", ("score",), "mse", scale=1, sign=-1)
  found = compare(Entrant("A", runs, 2), columns=[error], tasks=())
  assert found.value(found.lines[0], 0).low == 0 and t_interval((1, 2))[0] < 0


def test_only_what_overlaps_with_nothing_is_clearly_the_best():
  alone = compare(entrant("A", A), entrant("B", B))
  assert alone.clearly_best(0).label == "A"
  assert (
    stats.t.interval(0.95, 4, np.mean(A), stats.sem(A))[0]
    > (stats.t.interval(0.95, 4, np.mean(B), stats.sem(B))[1])
  )
  near = compare(entrant("A", A), entrant("B", np.array(B) + 0.15))
  assert near.best(0).label == "A" and near.clearly_best(0) is None
  unknown = compare(entrant("A", A), entrant("D", [0.4]))  # one seed, no interval over examples
  assert unknown.clearly_best(0) is None


def test_baselines_count_and_stand_once():
  extra = {
    f"{RAW}/logistic/macro_accuracy": 0.95, f"{RAW}/logistic/macro_accuracy_low": 0.93,
    f"{RAW}/logistic/macro_accuracy_high": 0.97, f"{RAW}/knn/text/macro_accuracy": 0.6,
    f"{RAW}/majority/macro_accuracy": 0.5, f"{RAW}/random_encoder/macro_accuracy": 0.55,
  }  # fmt: skip
  found = compare(entrant("A", A, extra=extra), entrant("B", B, extra=extra))
  assert [line.label for line in found.lines] == [
    "A", "B", "untrained model of A, B", "logistic regression on raw features",
    "20-NN on raw features (text alone)", "majority class", "chance",
  ]  # fmt: skip
  assert found.best(0).label == "logistic regression on raw features"
  assert found.best(0, trained=True).label == "A"
  assert found.clearly_best(0) is None  # no interval of 20-NN is known
  known = extra | {
    f"{RAW}/knn/text/macro_accuracy_{e}": v for e, v in (("low", 0.5), ("high", 0.7))
  }
  known |= {f"{RAW}/random_encoder/macro_accuracy_{e}": 0.55 for e in ("low", "high")}
  found = compare(entrant("A", A, extra=known), entrant("B", B, extra=known))
  assert found.clearly_best(0).label == "logistic regression on raw features"


def test_untrained_models_that_differ_have_lines_of_their_own():
  first, second = ({f"{RAW}/random_encoder/macro_accuracy": value} for value in (0.55, 0.6))
  found = compare(entrant("A", A, extra=first), entrant("B", B, extra=second))
  assert {"untrained model of A", "untrained model of B"} <= set(by_label(found))


def test_the_best_is_sought_on_equal_seeds():
  # B is worse by a point on every seed that it has; its two are A's luckiest.
  lucky = [Run(i, PROBED, {"test/label/macro_accuracy": A[i] - 0.01}) for i in (2, 3)]
  found = compare(entrant("A", A), Entrant("B", lucky, 5))
  means = [found.value(line, 0).mean for line in found.lines[:2]]
  assert means[1] > means[0] and found.best(0).label == "A" and found.seeds(0) == (2, 3)
  single = entrant("C", [0.91], ends={"low": 0.89, "high": 0.93})
  found = compare(entrant("A", A), entrant("B", B), single)
  assert found.best(0, trained=True).label == "A" and found.clearly_best(0) is None
  np.testing.assert_allclose(
    found.paired(by_label(found)["B"], 0), 100 * (np.array(B) - np.array(A))
  )
  apart = compare(entrant("A", A), entrant("B", B, start=10))
  assert apart.best(0, trained=True) is None and apart.clearly_best(0) is None


def test_scores_that_differ_by_rounding_are_equal():
  ends = {"low": 0.5, "high": 0.9}
  found = compare(entrant("A", (0.7, 0.7 + 1e-16, 0.1 + 0.6), ends=ends))
  value = found.value(found.lines[0], 0)
  assert math.isnan(value.std) and np.allclose((value.low, value.high), (50.0, 90.0))


def test_differences_are_of_the_same_seeds():
  found = compare(entrant("A", A), entrant("B", B, start=2))  # seeds 0 to 4 and 2 to 6
  lines = by_label(found)
  expected = 100 * (np.array(B[:3]) - np.array(A[2:]))
  np.testing.assert_allclose(found.paired(lines["B"], 0), expected)
  np.testing.assert_allclose(
    t_interval(found.paired(lines["B"], 0)),
    stats.t.interval(0.95, 2, expected.mean(), stats.sem(expected)),
  )
  assert not found.paired(lines["A"], 0).any()


def test_less_error_is_better():
  def runs(label, values):
    rows = [Run(i, PROBED, {"test/score/mse": value}) for i, value in enumerate(values)]
    return Entrant(label, rows, len(rows))

  column = Column("score", ("score",), "mse", scale=1, digits=4, sign=-1)
  found = compare(
    runs("A", (1.0, 1.1, 1.2)), runs("B", (5.0, 5.1, 5.2)), columns=[column], tasks=()
  )
  assert found.clearly_best(0).label == "A"
  assert [line.label for line in found.lines] == ["A", "B"]  # of numbers there is no chance


def trifeature(task="synergy", classifies=False, biased=False):
  evaluators = ["classification"] if classifies else ["representation"]
  data = {"name": "trifeature", "task": task, "biased": biased}
  return {"method": {"name": "m"}, "evaluators": evaluators, "data": data}


def test_a_column_takes_the_runs_of_its_setting_and_a_classifier_what_it_learned():
  tasks = ("unique1", "unique2", "synergy")

  def probed(seed, biased, values):
    named = {f"test/{t}/macro_accuracy": v for t, v in zip(tasks, values, strict=True)}
    return Run(seed, trifeature(biased=biased), named)

  def classifier(seed, task, value):
    return Run(seed, trifeature(task, True), {"test/label/macro_accuracy": value})

  both = Entrant("A", [probed(0, False, (0.8, 0.6, 0.5)), probed(0, True, (0.1, 0.1, 0.7))], 1)
  labelled = Entrant("S", [classifier(0, "unique1", 0.9), classifier(0, "synergy", 0.6)], 1)
  columns = [
    Column("uniqueness", ("unique1", "unique2"), where={"data.biased": False}),
    Column("synergy", ("synergy",), where={"data.biased": True}),
  ]
  found = compare(both, labelled, columns=columns, tasks=tasks)
  lines = by_label(found)
  np.testing.assert_allclose([lines["A"].values[i][0] for i in (0, 1)], (70.0, 70.0))
  assert lines["S"].values == ({}, {0: 60.0})  # unique2 was not learned: there is no mean
  mixed = [Column("synergy", ("synergy",))]
  with pytest.raises(ValueError, match="expected one run of m with seed 0 on synergy, found two"):
    compare(both, columns=mixed, tasks=tasks)


def test_a_classifier_of_arrays_stands_in_the_column_of_its_task_beside_probes_of_it():
  tasks, data = ("label", "label_mood"), {"name": "arrays", "task": ""}
  scored = {"test/label/macro_accuracy": 0.9, "test/label_mood/macro_accuracy": 0.7}
  baseline = {"test/label/baseline/majority/macro_accuracy": 0.5}  # of a task it did not learn
  own = {"test/label_mood/macro_accuracy": 0.8, "test/label_mood/cross_entropy": 0.4} | baseline
  probed = Entrant("A", [Run(0, PROBED | {"data": data}, scored)], 1)
  config = {"method": {"name": "s"}, "evaluators": ["classification", "baselines"], "data": data}
  learned = Entrant("S", [Run(0, config, own)], 1)
  columns = [Column(task, (task,)) for task in tasks]
  lines = by_label(compare(probed, learned, columns=columns, tasks=tasks))
  assert lines["A"].values == ({0: 90.0}, {0: 70.0})
  assert lines["S"].values == ({}, {0: 80.0})
  levels = chance_levels([(learned.runs[0], {"label_mood": 0.25})])
  assert levels == {"label_mood": 0.25}
