"""k-means by planted clusters and by the best of all partitions."""

import itertools

import numpy as np
import pytest

from synjax.evaluators.estimators import kmeans


def spread(features, cluster):
  """Sum of squared distances to the mean of the own cluster."""
  groups = [features[cluster == c] for c in np.unique(cluster)]
  return sum(((group - group.mean(0)) ** 2).sum() for group in groups)


def test_planted_clusters_are_found_whatever_their_numbers():
  rng = np.random.default_rng(0)
  planted = rng.integers(0, 5, 300)
  features = 10 * np.eye(5)[planted] + rng.normal(size=(300, 5))
  found = kmeans.assign(features, 5)
  assert len(set(zip(planted.tolist(), found.tolist(), strict=True))) == 5
  np.testing.assert_array_equal(kmeans.assign(features, 5), found)  # same seed, same clusters


def test_no_partition_of_a_few_examples_is_better():
  features = np.random.default_rng(1).normal(size=(8, 2))
  found = kmeans.assign(features, 2, num_starts=10)
  best = min(spread(features, np.array(c)) for c in itertools.product((0, 1), repeat=8))
  assert spread(features, found) == pytest.approx(best)


def test_equal_examples_share_a_cluster():
  features = np.repeat([[0.0], [1.0]], 4, axis=0)
  found = kmeans.assign(features, 3)
  assert len(set(found[:4])) == len(set(found[4:])) == 1 and found[0] != found[4]


@pytest.mark.parametrize(
  "features", [np.zeros((2, 2)), np.zeros(9), np.full((9, 1), np.nan)], ids=["few", "flat", "nan"]
)
def test_what_cannot_be_clustered_is_refused(features):
  with pytest.raises(ValueError, match="at least 3 examples"):
    kmeans.assign(features, 3)
