"""Nearest neighbours against NumPy's sorting and scikit-learn's classifier."""

import numpy as np
import pytest
import sklearn.neighbors

from synjax.evaluators.estimators import knn

NUM_CLASSES = 4


@pytest.fixture(scope="module")
def splits():
  random = np.random.RandomState(0)
  labels = random.randint(NUM_CLASSES, size=130)
  features = random.randn(NUM_CLASSES, 8)[labels] + 1.3 * random.randn(130, 8)
  features = (features * random.uniform(0.1, 10, size=(130, 1))).astype(np.float32)
  return features[:90], labels[:90], features[90:], labels[90:]


def _brute_force(train, train_labels, test, num_neighbors, temperature):
  train, test = (
    x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (train, test)
  )
  predictions = []
  for similarities in test @ train.T:
    votes = np.zeros(NUM_CLASSES)
    for i in np.argsort(-similarities)[:num_neighbors]:
      votes[train_labels[i]] += np.exp(similarities[i] / temperature)
    predictions.append(votes.argmax())
  return np.array(predictions)


@pytest.mark.parametrize(("num_neighbors", "temperature"), [(1, 0.07), (7, 0.07), (20, 0.5)])
def test_weighted_vote_is_brute_force(splits, num_neighbors, temperature):
  train, train_labels, test, test_labels = splits
  found = knn.knn_accuracy(
    *splits, num_classes=NUM_CLASSES, num_neighbors=num_neighbors, temperature=temperature
  )
  predictions = _brute_force(train, train_labels, test, num_neighbors, temperature)
  recalls = [np.mean(predictions[test_labels == c] == c) for c in range(NUM_CLASSES)]
  assert found["accuracy"] == pytest.approx(np.mean(predictions == test_labels))
  assert found["macro_accuracy"] == pytest.approx(np.mean(recalls))
  assert 0.3 < found["accuracy"] < 1


def test_tasks_on_the_same_features_are_those_of_one_search(splits, monkeypatch):
  train, labels, test, test_labels = splits
  tasks = {"label": (labels, test_labels, NUM_CLASSES), "odd": (labels % 2, test_labels % 2, 2)}
  alone = {
    task: knn.knn_accuracy(train, learned, test, target, num_classes=classes)
    for task, (learned, target, classes) in tasks.items()
  }
  find, searches = knn._find, []
  monkeypatch.setattr(knn, "_find", lambda *args: searches.append(1) or find(*args))
  learned, target, classes = ({task: row[i] for task, row in tasks.items()} for i in range(3))
  assert knn.knn_accuracies(train, learned, test, target, num_classes=classes) == alone
  assert len(searches) == 1 and alone["label"] != alone["odd"]


def test_weights_matter(splits):
  accuracies = {
    temperature: knn.knn_accuracy(
      *splits, num_classes=NUM_CLASSES, num_neighbors=60, temperature=temperature
    )["accuracy"]
    for temperature in (0.01, 100.0)
  }
  assert accuracies[0.01] != accuracies[100.0]


def test_high_temperature_is_scikit_learns_majority_vote(splits):
  train, train_labels, test, test_labels = splits
  classifier = sklearn.neighbors.KNeighborsClassifier(5, metric="cosine", algorithm="brute")
  expected = classifier.fit(train, train_labels).score(test, test_labels)
  found = knn.knn_accuracy(*splits, num_classes=NUM_CLASSES, num_neighbors=5, temperature=1e6)
  # Ties between classes are settled by tiny weights here and by the class index there.
  assert found["accuracy"] == pytest.approx(expected, abs=3 / len(test_labels))


def test_chunks_do_not_change_the_result(splits, monkeypatch):
  whole = knn.knn_accuracy(*splits, num_classes=NUM_CLASSES)
  monkeypatch.setattr(knn, "_SIMILARITIES_PER_CHUNK", 7 * 90)
  assert knn.knn_accuracy(*splits, num_classes=NUM_CLASSES) == whole


def test_fewer_training_examples_than_neighbors_and_zero_features(splits):
  train, train_labels, test, test_labels = splits
  train = train.copy()
  train[0] = 0
  few = knn.knn_accuracy(
    train[:6], train_labels[:6], test, test_labels, num_classes=NUM_CLASSES, num_neighbors=50
  )
  all_six = knn.knn_accuracy(
    train[:6], train_labels[:6], test, test_labels, num_classes=NUM_CLASSES, num_neighbors=6
  )
  assert few == all_six
  assert np.isfinite(few["accuracy"])


@pytest.mark.parametrize(
  ("change", "options", "message"),
  [
    ({0: np.full((90, 8), np.nan)}, {}, "train split: 90 of 90"),
    ({2: np.zeros((40, 7))}, {}, "test split: .* width 7"),
    ({3: np.zeros(39, int)}, {}, "test split"),
    ({}, {"num_neighbors": 0}, "num_neighbors"),
    ({}, {"temperature": 0.0}, "temperature"),
    ({}, {"num_classes": 3}, "num_classes = 3"),
  ],
)
def test_errors_say_what_is_wrong(splits, change, options, message):
  arguments = [change.get(i, part) for i, part in enumerate(splits)]
  with pytest.raises(ValueError, match=message):
    knn.knn_accuracy(*arguments, **({"num_classes": NUM_CLASSES} | options))


def test_votes_on_several_labels_are_brute_force(splits):
  train, labels, test, _ = splits
  several = np.stack([labels % 2, labels // 2, labels > 0], axis=1)
  a, b = (x / np.linalg.norm(x.astype(float), axis=1, keepdims=True) for x in (train, test))
  expected = []
  for similar in b @ a.T:
    near = np.argsort(-similar)[:7]
    weight = np.exp(similar[near] / 0.07)
    expected.append((weight[:, None] * several[near]).sum(0) / weight.sum())
  found = knn.label_votes(train, several, test, num_neighbors=7)
  np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
  assert 0 <= found.min() < 0.2 and 0.8 < found.max() <= 1
