import types

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import balanced_accuracy_score, log_loss

from synjax.evaluators import When, classification
from synjax.evaluators.classification import Classification
from tests import tiny


@pytest.fixture(scope="module")
def scored():
  rng = np.random.default_rng(0)
  label, source = rng.integers(0, 3, 500), rng.integers(0, 2, 500)
  logits = rng.normal(size=(500, 3)) + 1.5 * np.eye(3)[label] * (source == 0)[:, None]
  return logits, label, source


def test_scores_equal_scikit_learns_overall_and_per_source(scored):
  logits, label, source = scored
  found = classification.score(logits, label, source, ("easy", "hard", "absent"))
  predicted = logits.argmax(1)
  probs = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
  assert found["accuracy"] == pytest.approx((predicted == label).mean())
  assert found["macro_accuracy"] == pytest.approx(balanced_accuracy_score(label, predicted))
  assert found["cross_entropy"] == pytest.approx(log_loss(label, probs))
  for i, name in enumerate(("easy", "hard")):
    expected = (predicted == label)[source == i].mean()
    assert found[f"{name}/accuracy"] == pytest.approx(expected)
  assert "absent/accuracy" not in found
  assert set(found) == {*classification.METRICS, "easy/accuracy", "hard/accuracy"}


def test_calibration_error_is_the_gap_of_confidence_and_accuracy():
  correct = np.arange(1000) % 10 < 7
  assert classification.calibration_error(np.full(1000, 0.7), correct) == pytest.approx(0)
  assert classification.calibration_error(np.full(1000, 0.95), correct) == pytest.approx(0.25)
  mixed = np.concatenate([np.full(500, 0.9), np.full(500, 0.6)])
  halves = np.concatenate([np.arange(500) % 10 < 8, np.arange(500) % 10 < 5])
  assert classification.calibration_error(mixed, halves) == pytest.approx(0.1)
  assert classification.calibration_error(np.ones(4), np.ones(4, bool)) == pytest.approx(0)


def test_test_scores_have_the_interval_that_tables_print_of_one_seed():
  dataset = tiny.load_dataset(None)
  label = dataset.test.arrays["label"]
  frozen = types.SimpleNamespace(
    logits=lambda split: np.eye(2)[label][None], field=lambda name, split: label[None]
  )
  found = Classification(None, dataset, None).run(frozen, When.END)
  interval = scipy.stats.binomtest(len(label), len(label)).proportion_ci(method="wilson")
  assert found["test/label/accuracy_low"][0] == pytest.approx(interval.low)
  assert found["test/label/accuracy_high"][0] == 1
  assert 0.8 < found["test/label/macro_accuracy_low"][0] < 1  # not of zero width


def test_splits_are_scored_trial_by_trial_and_validation_never_looks_at_the_test_split():
  dataset = tiny.load_dataset(None)

  def field(name, split):
    assert split is not dataset.test
    return np.stack([split.arrays[name]] * 2)

  def logits(split):
    right = np.eye(2)[split.arrays["label"]]
    return np.stack([right, 1 - right])

  config = tiny.get_config("supervised", evaluate_train=True)
  frozen = types.SimpleNamespace(field=field, logits=logits)
  scores = Classification(config, dataset, None).run(frozen, When.EVALUATION)
  for split in ("val", "train_split"):
    np.testing.assert_array_equal(scores[f"{split}/label/accuracy"], [1, 0])
    np.testing.assert_array_equal(scores[f"{split}/label/zero/accuracy"], [1, 0])
