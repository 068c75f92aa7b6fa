"""Subsets of what unimodal models get wrong, counted example by example."""

import numpy as np
import pytest

from synjax.evaluators.estimators import wrong_subsets

SEEDS, EXAMPLES, MODALITIES, CLASSES = 5, 40, 2, 3


def draw():
  rng = np.random.default_rng(0)
  label = rng.integers(0, CLASSES, EXAMPLES)
  logits = rng.normal(size=(SEEDS, EXAMPLES, MODALITIES, CLASSES))
  logits[:, :10, 1] = np.nan  # lack the second modality
  logits[:, 38:] = np.nan  # lack both
  return logits, label


def test_every_subset_by_counting_models_one_by_one():
  logits, label = draw()
  found = wrong_subsets.subsets(logits[1], label, logits)
  for i in range(EXAMPLES):
    has = [m for m in range(MODALITIES) if not np.isnan(logits[0, i, m, 0])]
    errs = {(s, m): logits[s, i, m].argmax() != label[i] for s in range(SEEDS) for m in has}
    odds = [np.exp(logits[1, i, m]) / np.exp(logits[1, i, m]).sum() for m in has]
    expected = {
      "synergy_subset": all(errs[1, m] for m in has),
      "strict_subset": all(errs.values()),
      "majority_subset": all(sum(errs[s, m] for s in range(SEEDS)) >= 3 for m in has),
      "ensemble_subset": bool(has) and sum(odds).argmax() != label[i],
    }
    assert {name: bool(own[i]) for name, own in found.items()} == {
      name: bool(has) and value for name, value in expected.items()
    }
  strict, majority = found["strict_subset"], found["majority_subset"]
  assert strict.sum() < majority.sum() and (majority | ~strict).all()  # one lies in the other


def test_without_other_seeds_there_are_two_subsets():
  logits, label = draw()
  assert list(wrong_subsets.subsets(logits[0], label)) == ["synergy_subset", "ensemble_subset"]


def test_scores_of_a_part_are_those_of_its_examples_alone():
  rng = np.random.default_rng(1)
  predicted, label = rng.integers(0, 2, (2, 30))
  where = np.arange(30) % 3 == 0
  found = wrong_subsets.score(predicted, label, where, seed=4)
  assert found["size"] == 10
  assert found["accuracy"] == pytest.approx((predicted[::3] == label[::3]).mean())
  share = label[::3].mean() * predicted[::3].mean() + (1 - label[::3].mean()) * (
    1 - predicted[::3].mean()
  )
  assert found["permuted"] == pytest.approx(share, abs=0.02)  # of independent labels
  empty = wrong_subsets.score(predicted, label, np.zeros(30, bool))
  assert empty["size"] == 0 and np.isnan(empty["accuracy"]) and np.isnan(empty["permuted_low"])


def test_the_published_count_is_over_scores_and_not_over_predictions():
  logits = np.array([[2.0, 1.0], [-2.0, -1.0], [-1.0, 3.0]])
  label = np.array([0, 1, 1])  # all three are predicted right
  assert wrong_subsets.half_count(logits, label) == pytest.approx(4 / 6)  # an odd count of halves
