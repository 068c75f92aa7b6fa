"""Pairs of modalities: planted redundancy, unique information and synergy."""

import numpy as np
import pytest

from synjax.evaluators import pairs
from synjax.evaluators.estimators import cross_fitted


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
  monkeypatch.setattr(cross_fitted, "_NUM_TREES", 20)


def embed(bit, rng):
  """Four features, two of which show a bit."""
  return (2 * bit[:, None] - 1) * np.array([1, 1, 0, 0]) + 0.4 * rng.normal(size=(len(bit), 4))


@pytest.mark.whole_run
def test_planted_parts_are_found_by_both_estimators_in_every_pair():
  rng = np.random.default_rng(0)
  a, b = rng.integers(2, size=(2, 600))
  features = {"first": embed(a, rng), "second": embed(b, rng), "again": embed(a, rng)}
  calls = []
  found = list(
    pairs.decompose_pairs(
      features, a ^ b, num_shuffles=3, num_bootstraps=20, done=lambda: calls.append(1)
    )
  )
  assert len(calls) == pairs.num_parts(3) == 12
  assert [(own.modalities, own.estimator) for own in found] == [
    (pair, estimator)
    for pair in (("first", "second"), ("first", "again"), ("second", "again"))
    for estimator in pairs.ESTIMATORS
  ]
  for own in found:
    expected = 0.0 if own.modalities == ("first", "again") else 1.0
    assert abs(own.parts.synergy.estimate - expected) < 0.2, own
    assert own.parts.synergy.distinguishable == (expected == 1)
    assert own.parts.redundancy.estimate < 0.05


def test_what_one_modality_shows_is_unique_to_it_and_labels_may_have_any_numbers():
  rng = np.random.default_rng(1)
  a, b = rng.integers(2, size=(2, 400))
  features = {"first": embed(a, rng), "second": embed(b, rng)}
  options = {"num_shuffles": 3, "num_bootstraps": 20}
  for own in pairs.decompose_pairs(features, 40 - 7 * a, **options):
    assert own.parts.unique1.estimate > 0.8 and not own.parts.unique2.distinguishable
    assert own.parts.synergy.estimate < 0.1


def test_discrete_data_are_kept_as_they_are_only_while_cells_are_fewer_than_examples():
  rng = np.random.default_rng(2)
  options = {"num_shuffles": 3, "num_bootstraps": 20}
  for values, kept in ((17, True), (20, False)):  # 600 examples and 2 classes allow 17 x 17 cells
    a, b = rng.integers(values, size=(2, 600))
    features = {"first": a[:, None].astype(float), "second": b[:, None].astype(float)}
    labels = rng.integers(2, size=600)
    found, _ = pairs.decompose_pairs(features, labels, **options)
    assert (found.parts.num_cells == 2 * values**2) == kept
    assert found.parts.num_cells <= 600


def test_one_modality_or_one_class_is_refused():
  features = {"first": np.zeros((20, 2)), "second": np.zeros((20, 2))}
  with pytest.raises(ValueError, match=r"modalities \('first',\) and 2 classes"):
    list(pairs.decompose_pairs({"first": features["first"]}, np.arange(20) % 2))
  with pytest.raises(ValueError, match="found .* 1 class"):
    list(pairs.decompose_pairs(features, np.zeros(20, int)))
