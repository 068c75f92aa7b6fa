import dataclasses
import logging
import types

import numpy as np
import pytest
import scipy.stats
from sklearn.metrics import balanced_accuracy_score, log_loss, roc_auc_score

from synjax.evaluators import When, classification
from synjax.evaluators.classification import Classification
from synjax.evaluators.estimators import linear, metrics
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
  assert found["auroc"] == pytest.approx(roc_auc_score(label, probs, multi_class="ovr"))
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


@pytest.fixture(scope="module")
def at_the_end():
  """(dataset, scores) of a classifier that is right while it has the series, of one trial."""
  dataset, rng = tiny.load_dataset(None), np.random.default_rng(0)
  right = lambda split: np.eye(2)[split.arrays["label"]]  # noqa: E731
  embedded = {id(s): rng.normal(size=(1, s.num_examples, 3)) for s in (dataset.probe, dataset.test)}

  def logits(split, modalities=()):
    return (np.ones((split.num_examples, 2)) if modalities == ("table",) else right(split))[None]

  frozen = types.SimpleNamespace(
    logits=logits,
    embed=lambda split: embedded[id(split)],
    field=lambda name, split: split.arrays["label"][None],
    seeds=[42],
  )
  config = tiny.get_config("supervised", **{"probe.neighbors": 1})
  scores = Classification(config, dataset, None).run(frozen, When.END)
  return dataset, scores, [embedded[id(s)][0] for s in (dataset.probe, dataset.test)]


def test_test_scores_have_the_interval_that_tables_print_of_one_seed(at_the_end):
  dataset, found, _ = at_the_end
  label = dataset.test.arrays["label"]
  interval = scipy.stats.binomtest(len(label), len(label)).proportion_ci(method="wilson")
  assert found["test/label/accuracy_low"][0] == pytest.approx(interval.low)
  assert found["test/label/accuracy_high"][0] == 1
  assert 0.8 < found["test/label/macro_accuracy_low"][0] < 1  # not of zero width


def test_a_classifier_is_scored_as_other_methods_are(at_the_end):
  dataset, found, (probe, test) = at_the_end
  unit = lambda x: x / np.linalg.norm(x, axis=1, keepdims=True)  # noqa: E731
  nearest = dataset.probe.arrays["label"][(unit(test) @ unit(probe).T).argmax(1)]
  label = dataset.test.arrays["label"]
  expected = balanced_accuracy_score(label, nearest)
  assert found["test/label/knn_macro_accuracy"][0] == pytest.approx(expected)
  assert found["test/label/auroc"][0] == 1
  assert found["test/without_table/label/macro_accuracy"][0] == 1
  assert found["test/without_series/label/macro_accuracy"][0] == 0.5  # ties: always the first
  assert found["test/without_series/label/auroc"][0] == 0.5


def test_it_has_every_score_that_a_probe_of_the_same_data_has():
  """Of seven classes: the names that `linear.evaluate` gives, with all modalities and without each."""
  rng, label = np.random.default_rng(0), np.arange(70) % 7
  features = rng.normal(size=(70, 7)) + 2 * np.eye(7)[label]
  split = linear.Split(features, label)
  probed = set(linear.evaluate(split, split, num_classes=7)) - {"cost", "converged"}
  dataset = dataclasses.replace(tiny.load_dataset(None), num_classes=7)
  frozen = types.SimpleNamespace(
    logits=lambda split, modalities=(): features[None],
    embed=lambda split: np.ones((1, split.num_examples, 2)),
    field=lambda name, split: (label if split is dataset.test else split.arrays["label"])[None],
    seeds=[42],
  )
  test = dataclasses.replace(dataset.test, arrays={"label": label}, num_examples=70)
  dataset = dataclasses.replace(dataset, test=test)
  found = Classification(tiny.get_config("supervised"), dataset, None).run(frozen, When.END)
  for seen in ("", "without_series/", "without_table/"):
    assert not {f"test/{seen}label/{metric}" for metric in probed} - set(found)
  best = np.argsort(features, axis=1)[:, -5:]
  expected = np.mean([own in row for own, row in zip(label, best, strict=True)])
  assert found["test/without_table/label/top5_accuracy"][0] == pytest.approx(expected)
  low, high = metrics.macro_accuracy_interval(features.argmax(1), label)
  assert found["test/without_series/label/macro_accuracy_low"][0] == low
  assert found["test/label/macro_accuracy_high"][0] == high


def test_examples_of_which_nothing_is_left_are_counted_and_left_out():
  dataset = tiny.load_dataset(None)
  has, label = np.arange(40) % 4 > 0, dataset.test.arrays["label"]
  arrays = {**dataset.test.arrays, "table_present": has, "series_present": np.ones(40, bool)}
  test = dataclasses.replace(dataset.test, arrays=arrays)
  wrong = np.where(has, label, 1 - label)
  frozen = types.SimpleNamespace(
    logits=lambda split, modalities=(): np.eye(2)[wrong][None],
    embed=lambda split: np.ones((1, split.num_examples, 2)),
    field=lambda name, split: split.arrays["label"][None],
    seeds=[42],
  )
  dataset = dataclasses.replace(dataset, test=test)
  found = Classification(tiny.get_config("supervised"), dataset, None).run(frozen, When.END)
  assert found["test/without_series/label/left_out"][0] == 10
  assert found["test/without_series/label/accuracy"][0] == 1
  assert found["test/without_table/label/accuracy"][0] == 0.75
  assert "test/without_table/label/left_out" not in found


def test_without_a_modality_that_all_have_alone_there_is_no_score_and_a_reason(caplog):
  dataset = tiny.load_dataset(None)
  arrays = {**dataset.test.arrays, "table_present": np.ones(40, bool)}
  test = dataclasses.replace(dataset.test, arrays=arrays | {"series_present": np.zeros(40, bool)})
  frozen = types.SimpleNamespace(
    logits=lambda split, modalities=(): np.eye(2)[split.arrays["label"]][None],
    embed=lambda split: np.ones((1, split.num_examples, 2)),
    field=lambda name, split: split.arrays["label"][None],
    seeds=[42],
  )
  changed = dataclasses.replace(dataset, test=test)
  found = Classification(tiny.get_config("supervised"), changed, None).run(frozen, When.END)
  assert np.isnan(found["test/without_table/label/macro_accuracy"]).all()
  assert (
    "no scores of series (NaN): expected examples that have any, found none of 40" in caplog.text
  )


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


def test_a_model_that_predicts_one_class_is_said_to(caplog):
  dataset = tiny.load_dataset(None)
  label = dataset.test.arrays["label"]
  predicted = np.stack([np.zeros_like(label), label])
  frozen = types.SimpleNamespace(
    logits=lambda split, modalities=(): np.eye(2)[predicted],
    embed=lambda split: np.ones((2, split.num_examples, 2)),
    field=lambda name, split: np.stack([split.arrays["label"]] * 2),
    seeds=[42, 43],
  )
  config = tiny.get_config("supervised", **{"probe.neighbors": 1})
  with caplog.at_level(logging.WARNING, "synjax"):
    found = Classification(config, dataset, None)._test(frozen)
  assert found["test/label/predicted_classes"].tolist() == [1, 2]
  assert "the classifier of seed 42 predicts one class for all test examples" in caplog.text
