"""Metrics against scikit-learn, SciPy and counting by hand."""

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics

from synjax.evaluators.estimators import metrics


def _random_case(seed, num_classes=4, size=60, levels=6):
  random = np.random.RandomState(seed)
  labels = random.randint(num_classes, size=size)
  labels[:num_classes] = np.arange(num_classes)
  scores = random.randint(levels, size=(size, num_classes)) + (
    labels[:, None] == range(num_classes)
  )
  scores = scores + 0.1
  return scores / scores.sum(1, keepdims=True), labels


def test_macro_accuracy_is_mean_recall():
  predictions = np.array([0, 0, 0, 1, 1, 0, 2])
  labels = np.array([0, 0, 0, 0, 1, 1, 2])
  assert metrics.macro_accuracy(predictions, labels) == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
  assert metrics.accuracy(predictions, labels) == pytest.approx(5 / 7)


def test_classes_that_do_not_occur_are_left_out():
  labels = np.array([0, 0, 3, 3])
  predictions = np.array([0, 2, 3, 3])
  assert metrics.macro_accuracy(predictions, labels) == pytest.approx(0.75)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_top_k_accuracy_without_ties(k):
  scores = np.random.RandomState(k).rand(50, 5)
  labels = np.random.RandomState(9).randint(5, size=50)
  expected = sklearn.metrics.top_k_accuracy_score(labels, scores, k=k, labels=range(5))
  assert metrics.top_k_accuracy(scores, labels, k=k) == pytest.approx(expected)


def test_top_k_accuracy_with_ties_and_large_k():
  scores, labels = _random_case(3)
  assert metrics.top_k_accuracy(scores, labels, k=1) == np.mean(scores.argmax(1) == labels)
  assert metrics.top_k_accuracy(scores, labels, k=7) == 1


@pytest.mark.parametrize("seed", range(3))
def test_auroc_with_many_ties(seed):
  scores, labels = _random_case(seed)
  expected = sklearn.metrics.roc_auc_score(labels, scores, multi_class="ovr")
  assert len(np.unique(scores[:, 0])) < 50
  np.testing.assert_allclose(metrics.auroc(scores, labels), expected, rtol=1e-12)


def test_auroc_of_two_classes_and_of_constant_scores():
  scores, labels = _random_case(5, num_classes=2)
  expected = sklearn.metrics.roc_auc_score(labels, scores[:, 1])
  np.testing.assert_allclose(metrics.auroc(scores, labels), expected, rtol=1e-12)
  assert metrics.auroc(np.full((60, 2), 0.5), labels) == 0.5


def test_auroc_leaves_absent_classes_out():
  scores, labels = _random_case(6)
  present = labels != 2
  areas = [
    sklearn.metrics.roc_auc_score(labels[present] == c, scores[present, c]) for c in (0, 1, 3)
  ]
  np.testing.assert_allclose(metrics.auroc(scores[present], labels[present]), np.mean(areas))


def test_macro_accuracy_interval_covers_as_often_as_it_says():
  random = np.random.RandomState(0)
  recall, counts = np.array([0.9, 0.6, 0.3]), np.array([400, 100, 60])
  labels = np.repeat(np.arange(3), counts)
  covered = 0
  for _ in range(600):
    correct = random.rand(len(labels)) < recall[labels]
    predictions = np.where(correct, labels, (labels + 1) % 3)
    low, high = metrics.macro_accuracy_interval(predictions, labels, confidence=0.9)
    covered += low <= recall.mean() <= high
  assert scipy.stats.binomtest(covered, 600, 0.9).pvalue > 1e-3


def test_macro_accuracy_interval_stays_in_range():
  low, high = metrics.macro_accuracy_interval(np.array([0, 1]), np.array([0, 1]))
  assert low < 0.5 and high == 1.0  # two examples, both right: not an interval of zero width
  labels = np.array([0] * 5 + [1] * 5)
  _, high = metrics.macro_accuracy_interval(np.array([0] * 5 + [1] * 4 + [0]), labels)
  assert 0.9 < high <= 1.0


@pytest.mark.parametrize("right", [0, 1, 17, 40])
def test_the_interval_of_a_fraction_is_wilsons(right):
  low, high = metrics.fraction_interval(right / 40, 40)
  expected = scipy.stats.binomtest(right, 40).proportion_ci(method="wilson")
  np.testing.assert_allclose([low, high], [expected.low, expected.high], atol=1e-12)
  one_class = metrics.macro_accuracy_interval(np.arange(40) >= right, np.zeros(40, int))
  np.testing.assert_allclose(one_class, (low, high), atol=1e-12)


def test_accuracies_are_those_of_the_functions_of_their_names():
  predictions, labels = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 0, 1, 1])
  found = metrics.accuracies(predictions, labels)
  assert found["accuracy"] == 0.6
  assert found["macro_accuracy"] == pytest.approx((2 / 3 + 1 / 2) / 2)
  ends = metrics.macro_accuracy_interval(predictions, labels)
  assert (found["macro_accuracy_low"], found["macro_accuracy_high"]) == ends


def test_the_gain_over_the_best_part_by_hand():
  whole, parts = np.array([0.9, 0.5, 0.5]), np.array([[0.6, 0.5, 0.0], [0.3, 0.625, 0.0]])
  np.testing.assert_allclose(metrics.relative_gain(whole, parts), [0.5, -0.2, np.nan])


def test_probabilities_do_not_saturate_where_float32_does():
  logits = np.array([[20.0, 0.0], [30.0, 0.0]], np.float32)
  first = metrics.probabilities(logits)[:, 0]
  assert first[0] < first[1] < 1


@pytest.mark.parametrize(
  ("call", "message"),
  [
    (lambda: metrics.accuracy(np.zeros((3, 2)), np.zeros(3, int)), "argmax"),
    (lambda: metrics.macro_accuracy(np.zeros(0, int), np.zeros(0, int)), "not empty"),
    (lambda: metrics.macro_accuracy_interval([0, 1], [0, 1], confidence=1.5), "confidence"),
    (lambda: metrics.top_k_accuracy(np.zeros((3, 2)), np.zeros(3, int), k=0), "k must"),
    (lambda: metrics.auroc(np.zeros((3, 2)), np.array([0, 1, 2])), r"\[0, 2\)"),
    (lambda: metrics.auroc(np.zeros((3, 2)), np.zeros(3, int)), "two classes"),
    (lambda: metrics.auroc(np.full((2, 2), np.nan), np.array([0, 1])), "NaN"),
  ],
)
def test_errors_say_what_is_wrong(call, message):
  with pytest.raises(ValueError, match=message):
    call()


def test_f1_of_every_class_agrees_with_scikit_learn():
  rng = np.random.default_rng(0)
  predicted, label = rng.integers(0, 5, (2, 60))
  predicted[predicted == 3] = 0  # never predicted
  label[label == 4] = 1  # never there
  found = metrics.f1_scores(predicted, label, 6)  # of the last class neither
  expected = sklearn.metrics.f1_score(
    label, predicted, labels=range(6), average=None, zero_division=0
  )
  np.testing.assert_allclose(found[:4], expected[:4])
  assert np.isnan(found[4:]).all()  # not available, which is not 0
