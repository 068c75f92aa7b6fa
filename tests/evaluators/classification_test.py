import types

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import balanced_accuracy_score, log_loss

from synjax.evaluators import classification
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


def test_the_synergy_subset_is_what_every_unimodal_model_gets_wrong():
  label = np.array([0, 0, 1, 1, 0])
  right = np.array([[0, 0], [1, 0], [0, 0], [1, 1], [0, 0]], bool)  # of each modality
  unimodal = np.where(right[..., None] == np.eye(2, dtype=bool)[label][:, None], 2.0, -2.0)
  fused = np.eye(2)[[0, 0, 1, 0, 1]]
  found = classification.synergy_subset(fused, unimodal, label)
  assert found["synergy_subset/size"] == 3
  assert found["synergy_subset/accuracy"] == pytest.approx(2 / 3)
  assert found["synergy_subset/flipped"] == 1  # two classes, all wrong: the opposite is right
  assert found["some_right/accuracy"] == 1
  assert found["all_right/accuracy"] == 0
  # The mean of the models that define the subset can only be wrong on it.
  ensemble = classification.synergy_subset(unimodal.mean(1), unimodal, label)
  assert ensemble["synergy_subset/accuracy"] == 0


def test_the_permutation_interval_is_that_of_the_hypergeometric_distribution():
  """Binary, all unimodal models wrong: right ones among permuted labels are 2 X + constant."""
  rng = np.random.default_rng(0)
  label, fused = rng.integers(0, 2, (2, 200))
  unimodal = np.repeat(np.eye(2)[1 - label][:, None], 2, axis=1)
  found = classification.synergy_subset(np.eye(2)[fused], unimodal, label, seed=3)
  ones, positives = label.sum(), fused.sum()
  hits = scipy.stats.hypergeom(200, ones, positives)  # predicted 1 and labelled 1
  accuracy = lambda x: (2 * x + 200 - ones - positives) / 200  # noqa: E731
  assert found["synergy_subset/permuted"] == pytest.approx(accuracy(hits.mean()), abs=0.005)
  for name, q in (("low", 0.025), ("high", 0.975)):
    assert found[f"synergy_subset/permuted_{name}"] == pytest.approx(
      accuracy(hits.ppf(q)), abs=0.02
    )
  assert found["synergy_subset/chance"] == 0.5
  again = classification.synergy_subset(np.eye(2)[fused], unimodal, label, seed=3)
  np.testing.assert_equal(again, found)
  empty = classification.synergy_subset(np.eye(2)[label], np.eye(2)[label][:, None], label)
  assert empty["synergy_subset/size"] == 0
  names = ("accuracy", "accuracy_low", "permuted", "permuted_high")
  assert np.isnan([empty[f"synergy_subset/{name}"] for name in names]).all()


def test_test_scores_have_the_interval_that_tables_print_of_one_seed():
  dataset = tiny.load_dataset(None)
  label = dataset.test.arrays["label"]
  frozen = types.SimpleNamespace(
    logits=lambda split: np.eye(2)[label][None], field=lambda name, split: label[None]
  )
  found = classification.test(None, dataset, frozen)
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
  scores = classification.validate(config, dataset, frozen)
  for split in ("val", "train_split"):
    np.testing.assert_array_equal(scores[f"{split}/label/accuracy"], [1, 0])
    np.testing.assert_array_equal(scores[f"{split}/label/zero/accuracy"], [1, 0])


def test_the_synergy_subset_is_judged_by_the_modalities_an_example_has():
  right, wrong, absent = [0.0, 1.0], [1.0, 0.0], [np.nan, np.nan]
  label = np.ones(6, int)
  unimodal = np.array(
    [
      [wrong, wrong],
      [wrong, absent],
      [absent, right],
      [right, wrong],
      [absent, absent],
      [right, right],
    ]
  )
  fused = np.array([right, wrong, right, right, wrong, wrong])
  found = classification.synergy_subset(fused, unimodal, label)
  assert found["synergy_subset/size"] == 2  # the first two
  assert found["synergy_subset/accuracy"] == 0.5
  assert found["synergy_subset/flipped"] == 1
  assert found["some_right/accuracy"] == 1  # the fourth
  assert found["all_right/accuracy"] == 0.5  # the third and the last
