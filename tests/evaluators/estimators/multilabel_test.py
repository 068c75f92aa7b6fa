"""Several labels an example, against scikit-learn."""

import numpy as np
import pytest
from sklearn import linear_model, metrics

from synjax.evaluators.estimators import linear, multilabel


@pytest.fixture(scope="module")
def problem():
  """Splits with four labels: three that features tell with noise, one that no example has."""
  rng = np.random.default_rng(0)
  weight = rng.normal(size=(6, 3))

  def draw(count):
    features = rng.normal(size=(count, 6)).astype(np.float32)
    labels = (features @ weight + rng.normal(size=(count, 3)) > [0, 1, -1]).astype(np.int32)
    return linear.Split(features, np.pad(labels, ((0, 0), (0, 1))))

  return {"train": draw(120), "validation": draw(60), "test": draw(80)}


def test_scores_are_scikit_learns(problem):
  rng, truth = np.random.default_rng(1), problem["test"].labels
  logits = rng.normal(size=truth.shape) + truth
  found, predicted = multilabel.scores(logits, truth), logits > 0
  for average in ("macro", "weighted"):
    expected = metrics.f1_score(truth, predicted, average=average, zero_division=0)
    assert found[f"{average}_f1"] == pytest.approx(expected, abs=1e-12)
  known = range(3)
  balanced = [metrics.balanced_accuracy_score(truth[:, k], predicted[:, k]) for k in known]
  areas = [metrics.roc_auc_score(truth[:, k], logits[:, k]) for k in known]
  assert found["macro_accuracy"] == pytest.approx(np.mean(balanced), abs=1e-12)
  assert found["auroc"] == pytest.approx(np.mean(areas), abs=1e-12)
  assert found["accuracy"] == pytest.approx(1 - metrics.hamming_loss(truth, predicted), abs=1e-12)
  assert found["macro_accuracy_low"] < found["macro_accuracy"] < found["macro_accuracy_high"]


def test_the_interval_covers_also_labels_that_are_copies_of_each_other():
  rng, covered, trials = np.random.default_rng(2), 0, 300
  for _ in range(trials):
    truth = np.repeat(rng.integers(0, 2, (60, 1)), 5, axis=1)
    right = rng.random((60, 1)) < 0.7
    found = multilabel.scores(np.where(right, 1, -1) * (2 * truth - 1.0), truth)
    covered += found["macro_accuracy_low"] <= 0.7 <= found["macro_accuracy_high"]
  assert covered / trials >= 0.92


@pytest.mark.parametrize("protocol", ["clean", "paper"])
def test_the_probe_is_a_logistic_regression_a_label_at_the_cost_that_validation_chose(
  problem, protocol
):
  kept = []
  found = multilabel.evaluate(
    problem["train"], problem["test"], problem["validation"], num_labels=4, protocol=protocol,
    search="coarse", keep=kept.append,
  )  # fmt: skip
  train, validation = problem["train"], problem["validation"]

  def fit(split, cost):
    solver = {"C": cost, "tol": 1e-10, "max_iter": 10_000}
    return [
      linear_model.LogisticRegression(**solver).fit(split.features, split.labels[:, k])
      for k in range(3)
    ]

  def f1(models, split):
    predicted = np.stack([m.predict(split.features) for m in models] + [0 * split.labels[:, 3]], 1)
    return metrics.f1_score(split.labels, predicted, average="macro", zero_division=0)

  costs = [10.0**power for power in range(-6, 7, 2)]
  best = costs[int(np.argmax([f1(fit(train, cost), validation) for cost in costs]))]
  assert found["cost"] == pytest.approx(best, rel=1e-6)
  if protocol == "paper":
    train = linear.Split(*map(np.concatenate, zip(train, validation, strict=True)))
  models = fit(train, best)
  assert found["macro_f1"] == pytest.approx(f1(models, problem["test"]), abs=0.01)
  expected = np.stack([m.decision_function(problem["test"].features) for m in models], 1)
  logits = kept[0](problem["test"].features)
  np.testing.assert_allclose(logits[:, :3], expected, rtol=1e-3, atol=1e-3)
  assert (logits[:, 3] < 0).all() and found["converged"] == 1


def test_without_validation_a_part_of_the_training_examples_chooses(problem):
  found = multilabel.evaluate(problem["train"], problem["test"], num_labels=4, search="coarse")
  assert found["macro_f1"] > 0.5


def test_labels_that_are_not_0_and_1_are_refused(problem):
  wrong = problem["train"]._replace(labels=problem["train"].labels + 1)
  with pytest.raises(ValueError, match="of 0 and 1"):
    multilabel.evaluate(wrong, problem["test"], num_labels=4)
  with pytest.raises(ValueError, match=r"both \[examples, labels\]"):
    multilabel.scores(np.zeros((3, 2)), np.zeros((3, 4)))
