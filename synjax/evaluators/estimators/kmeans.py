"""k-means, for what needs codes instead of vectors."""

import numpy as np

_MAX_ITERATIONS = 100


def assign(
  features: np.ndarray, num_clusters: int, *, seed: int = 0, num_starts: int = 4
) -> np.ndarray:
  """Clusters examples by Lloyd's algorithm from k-means++ centres, the best of several starts.

  Args:
    features: [examples, dim].
    num_clusters: k >= 1, at most as many as there are examples.
    seed: of the centres.
    num_starts: how often to start.

  Returns:
    int[examples], numbers of clusters in [0, k); some may be empty where examples are equal.

  Raises:
    ValueError: `features` is no finite matrix, or it has fewer than k rows.

  Source: Arthur & Vassilvitskii, "k-means++", SODA 2007.
  """
  features = np.asarray(features, np.float64)
  finite = features.ndim == 2 and np.isfinite(features).all()
  if not finite or not 1 <= num_clusters <= len(features):
    raise ValueError(
      f"kmeans: expected finite features [examples, dim] of at least {num_clusters} examples, found"
      f" {list(features.shape)}"
    )
  rng = np.random.default_rng(seed)
  starts = [_lloyd(features, _centres(features, num_clusters, rng)) for _ in range(num_starts)]
  return min(starts, key=lambda found: found[0])[1]


def _centres(features: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
  """Draws centres, each in proportion to the squared distance to those before it."""
  centres = [features[rng.integers(len(features))]]
  distance = np.full(len(features), np.inf)
  for _ in range(count - 1):
    distance = np.minimum(distance, ((features - centres[-1]) ** 2).sum(1))
    total = distance.sum()
    share = distance / total if total > 0 else None  # all examples are centres already
    centres.append(features[rng.choice(len(features), p=share)])
  return np.array(centres)


def _lloyd(features: np.ndarray, centres: np.ndarray) -> tuple[float, np.ndarray]:
  """Moves the centres until no example changes; returns (sum of squared distances, clusters)."""
  cluster = np.full(len(features), -1)
  square = (features**2).sum(1)
  for _ in range(_MAX_ITERATIONS):
    distance = square[:, None] - 2 * features @ centres.T + (centres**2).sum(1)
    nearest = distance.argmin(1)
    if np.array_equal(nearest, cluster):
      break
    cluster = nearest
    members = cluster[:, None] == np.arange(len(centres))
    count = members.sum(0)[:, None]
    # A centre that lost all its examples stays: its cluster is empty.
    centres = np.where(count > 0, members.T @ features / np.maximum(count, 1), centres)
  return float(distance[np.arange(len(features)), cluster].sum()), cluster
