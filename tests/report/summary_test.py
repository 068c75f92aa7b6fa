"""Sentences of a comparison, against intervals of SciPy: what is said is what they leave no doubt of."""

import numpy as np
import pytest
from scipy import stats

from synjax.report.comparison import Comparison, Entrant, Run, chance_levels, every_task
from synjax.report.summary import sentences
from synjax.workdir.scores import Baseline

CHANCE = {"synergy": 0.5, "unique1": 0.1}


def entrant(label, synergy, unique1=0.5, half=0.02):
  config = {"method": {"name": label}, "data": {"name": "d"}, "evaluators": ["representation"]}
  runs = []
  for seed, value in enumerate(synergy):
    found = {"test/synergy/macro_accuracy": value, "test/unique1/macro_accuracy": unique1}
    ends = {
      f"{n}_{e}": v + s * half for n, v in found.items() for e, s in (("low", -1), ("high", 1))
    }
    runs.append(Run(seed, config, found | ends))
  return Entrant(label, runs, len(runs))


def said(*entrants):
  runs = [run for one in entrants for run in one.runs]
  levels = chance_levels((run, CHANCE) for run in runs)
  return sentences(Comparison(entrants, every_task(runs, levels), levels))


def test_one_seed_is_said_to_be_above_chance_where_its_interval_is():
  first, second = said(entrant("InfMasking", [0.567], half=0.0152))
  assert first == (
    "InfMasking's synergy 56.7 [55.2, 58.2] is above chance 50.0; above chance, too: unique1."
  )
  assert second.startswith("It is one seed: the interval is over test examples")


@pytest.mark.parametrize(
  ("value", "words"),
  [
    (0.515, "is not distinguishable from chance 50.0"),
    (0.45, "is below chance 50.0"),
    (0.55, "is above chance 50.0"),
  ],
)
def test_chance(value, words):
  assert words in said(entrant("CoMM", [value], unique1=0.1))[0]
  assert "too" not in said(entrant("CoMM", [value], unique1=0.1))[0]


def test_methods_are_told_apart_by_their_differences_of_equal_seeds():
  best = np.array([0.60, 0.70, 0.80, 0.90])
  close, far = best - [0.01, 0.02, 0.01, 0.03], best - [0.10, -0.08, 0.02, 0.01]
  _, text = said(entrant("A", best), entrant("B", close), entrant("C", far))
  for name, other, apart in (("B", close, True), ("C", far, False)):
    differences = 100 * (best - other)
    assert (stats.ttest_rel(best, other).pvalue < 0.05) == apart
    low, high = stats.t.interval(0.95, 3, differences.mean(), stats.sem(differences))
    assert f"{name} ({differences.mean():+.1f} [{low:+.1f}, {high:+.1f}])" in text
  assert text.index("better than B") < text.index("not distinguishable from C")
  assert text.endswith("(Signed: A minus the other, over 4 paired seeds.)")


def test_of_one_seed_each_the_intervals_of_the_scores_decide():
  _, text = said(entrant("A", [0.8]), entrant("B", [0.7]), entrant("C", [0.78]))
  assert text == (
    "It is better than B 70.0 [68.0, 72.0]; is not distinguishable from C 78.0 [76.0, 80.0]."
  )


def test_a_baseline_that_is_better_is_said():
  run = entrant("A", [0.8])
  score = Baseline("logistic").score("synergy", "macro_accuracy")
  more = {score: 0.9, f"{score}_low": 0.88, f"{score}_high": 0.92}
  (only,) = run.runs
  runs = [Run(only.seed, only.config, {**only.scores, **more})]
  _, text = said(Entrant("A", runs, 1))
  assert text == "It is worse than logistic regression on raw features 90.0 [88.0, 92.0]."


def several(label, macro, weighted, tasks=("label",), evaluators=("representation",)):
  config = {"method": {"name": label}, "data": {"name": "d"}, "evaluators": evaluators}
  found = {}
  for task in tasks:
    ends = {"": 0.516, "_low": 0.49, "_high": 0.57}
    found |= {f"test/{task}/macro_accuracy{end}": value for end, value in ends.items()}
  guess = Baseline("majority")
  found |= {"test/label/macro_f1": macro, guess.score("label", "macro_f1"): 0.501}
  found |= {"test/label/weighted_f1": weighted, guess.score("label", "weighted_f1"): 0.651}
  return Entrant(label, [Run(0, config, found)], 1)


def said_of(*entrants, tasks=("label",)):
  runs = [run for one in entrants for run in one.runs]
  levels = dict.fromkeys(tasks, 0.5)
  return sentences(Comparison(entrants, every_task(runs, levels), levels))


def test_f1_below_the_majority_is_said_of_every_method():
  first, _, below = said_of(
    several("A", 0.298, 0.379), several("B", 0.6, 0.65), several("C", 0.6, 0.7)
  )
  assert "is not distinguishable from chance 50.0" in first
  assert below == (
    "Below the majority class in F1: A on label (macro F1 29.8 against 50.1, weighted F1 37.9 against"
    " 65.1) and B on label (weighted F1 65.0 against 65.1)."
  )
  assert len(said_of(several("C", 0.6, 0.7))) == 2


def test_the_task_is_named_where_there_are_others():
  both = ("label", "label_mood")
  assert said_of(several("A", 0.6, 0.7, both), tasks=both)[0].startswith(
    "A's macro accuracy on label 51.6 ["
  )
  assert said_of(several("A", 0.6, 0.7))[0].startswith("A's macro accuracy 51.6 [")


def test_of_nothing_that_was_scored_nothing_is_said():
  assert sentences(Comparison([], [], ())) == []
