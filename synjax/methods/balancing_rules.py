"""What balancing methods decide by: plain functions of arrays (docs/spec/baselines.md 5)."""

import warnings
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

_OF_NOTHING = 0.001  # c / 2 of the joint gradient where the own one is 0, as published


def ogm_coefficients(scores: jax.Array, alpha: jax.Array | float) -> jax.Array:
  r"""Computes OGM-GE's coefficient of each modality's gradient.

      s_i = sum_n scores[i, n],  rho_i = s_i / mean_{j != i} s_j,
      k_i = 1 - tanh(alpha rho_i) where rho_i > 1, else 1.

  OGM-GE [@peng2022ogm], docs/spec/baselines.md 5.2; for two modalities rho_i is the published ratio.
  Differences from the official code, which has two: the mean over the others; and with equal sums
  nothing is damped, where it damps the first modality.

  Args:
    scores: [modalities, batch], probability that a modality alone gives the true class; 0 where an
      example does not count.
    alpha: >= 0, how strongly the modalities that are ahead are damped.

  Returns:
    float[modalities] in [0, 1], a constant to the gradient.

  Raises:
    ValueError: `scores` is no matrix.
  """
  scores = jnp.asarray(scores)
  if scores.ndim != 2:
    raise ValueError(
      f"ogm_coefficients: expected scores [modalities, batch], found {list(scores.shape)}"
    )
  own = jax.lax.stop_gradient(scores).sum(axis=1)
  others = (own.sum() - own) / max(len(own) - 1, 1)
  ahead = (own > others) & (len(own) > 1)
  limits = jnp.finfo(own.dtype)
  ratio = jnp.minimum(own / jnp.maximum(others, limits.tiny), limits.max)  # 0 inf would be NaN
  return jnp.where(ahead, 1 - jnp.tanh(alpha * ratio), 1.0)


def pareto_weights(g0: jax.Array, gi: jax.Array) -> tuple[jax.Array, jax.Array]:
  r"""Computes MMPareto's weights of h = c0 g0 + ci gi, which sum to 2.

      c0 = ci = 1 where <g0, gi> > 0, else twice the weights of the shortest vector between them,
      c0 / 2 = (|gi|^2 - <g0, gi>) / |g0 - gi|^2.

  So <h, g0> and <h, gi> are never negative. Of a gradient that is 0 the weights are (0.002, 1.998) or
  (1.998, 0.002), as the published solver clamps them: h keeps the direction of the other one. Source:
  MMPareto [@wei2024mmpareto], docs/spec/baselines.md 5.3.

  Args:
    g0: [size], gradient of the joint loss of an encoder's parameters.
    gi: [size], gradient of that modality's own loss.

  Returns:
    (c0, ci), scalars; (1, 1) where both are 0.

  Raises:
    ValueError: the gradients are no vectors of one length.
  """
  g0, gi = jnp.asarray(g0), jnp.asarray(gi)
  if g0.ndim != 1 or g0.shape != gi.shape:
    raise ValueError(
      f"pareto_weights: expected two flat gradients of one length, found {list(g0.shape)} and"
      f" {list(gi.shape)}"
    )
  scale = magnitude([g0, gi])  # products of float32 would be 0 or infinite beyond 1e-19 and 1e19
  g0, gi = g0 / scale, gi / scale
  return weights_of_products(g0 @ g0, g0 @ gi, gi @ gi)


def magnitude(arrays: Sequence[jax.Array]) -> jax.Array:
  """Returns the largest absolute entry of all arrays; 1 where all are 0."""
  found = jnp.stack([jnp.abs(array).max() for array in arrays]).max()
  return jnp.where(found > 0, found, 1)


def weights_of_products(
  square0: jax.Array, product: jax.Array, square_i: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Returns `pareto_weights` of two vectors from |g0|^2, <g0, gi> and |gi|^2."""
  distance = square0 - 2 * product + square_i
  known = (product <= 0) & (distance > 0)
  c = jnp.where(known, (square_i - product) / jnp.where(known, distance, 1), 0.5)
  c = jnp.where(known & (square_i == 0), _OF_NOTHING, c)
  c = jnp.where(known & (square0 == 0), 1 - _OF_NOTHING, c)
  return 2 * c, 2 * (1 - c)


def kmeans_purity(features: np.ndarray, labels: np.ndarray, num_clusters: int) -> float:
  """Computes how well clusters of features separate the classes, in (0, 1].

  Every dimension is scaled to [-1, 1] by its own least and largest value, then k-means (k-means++, the
  best of 10 starts, seed 0); purity is the share of examples whose label is the most frequent one of
  their cluster. Source: Diagnosing & Re-learning [@wei2024diagnosing], docs/spec/baselines.md 5.4; the
  number of starts is that of the published runs, whose library has changed its default since.

  Args:
    features: [examples, dim].
    labels: int[examples].
    num_clusters: k >= 1, as published the number of classes.

  Returns:
    The purity; 1 for one-hot features of the labels.

  Raises:
    ValueError: `features` is no finite matrix with a label for each row, or has fewer than k rows.
  """
  features, labels = np.asarray(features), np.asarray(labels)
  fits = features.ndim == 2 and labels.shape == features.shape[:1]
  if not fits or not 1 <= num_clusters <= len(features) or not np.isfinite(features).all():
    raise ValueError(
      f"kmeans_purity: expected finite features [examples, dim] of at least {num_clusters} examples and"
      f" a label of each, found features {list(features.shape)} and labels {list(labels.shape)}"
    )
  from sklearn.cluster import KMeans  # takes a second, and few need it
  from sklearn.exceptions import ConvergenceWarning
  from threadpoolctl import threadpool_limits  # of scikit-learn

  low, high = features.min(axis=0), features.max(axis=0)
  scaled = 2 * (features - low) / np.where(high > low, high - low, 1) - 1
  # One thread: so little work is 40 times as fast without others that wait for each other.
  with warnings.catch_warnings(), threadpool_limits(1):
    # Fewer distinct examples than clusters: some are empty.
    warnings.simplefilter("ignore", ConvergenceWarning)
    clusters = KMeans(num_clusters, n_init=10, random_state=0).fit_predict(scaled)
  return cluster_purity(clusters, labels)


def cluster_purity(clusters: np.ndarray, labels: np.ndarray) -> float:
  """Returns the share of examples whose label is the most frequent one of their cluster.

  Args:
    clusters: int[examples].
    labels: int[examples].
  """
  _, cluster = np.unique(clusters, return_inverse=True)
  _, label = np.unique(labels, return_inverse=True)
  counts = np.zeros((cluster.max() + 1, label.max() + 1), int)
  np.add.at(counts, (cluster, label), 1)
  return float(counts.max(axis=1).sum() / len(labels))


def reset_strength(
  purity_train: np.ndarray | float, purity_val: np.ndarray | float, lam: float
) -> np.ndarray:
  """Computes how far a modality goes back to its initial parameters: w = tanh(lambda |P_train - P_val|).

  Diagnosing & Re-learning [@wei2024diagnosing], docs/spec/baselines.md 5.4.

  Args:
    purity_train: of `kmeans_purity` on training examples; any shape.
    purity_val: on validation examples.
    lam: lambda >= 0.

  Returns:
    w in [0, 1), of the shape of the purities: 0 leaves the parameters, 1 would be the initial ones.
  """
  return np.tanh(lam * np.abs(np.asarray(purity_train) - np.asarray(purity_val)))


def boosting_weights(
  q: jax.Array, labels: jax.Array, w1: jax.Array | float, w2: jax.Array | float
) -> jax.Array:
  """Computes ReconBoost's weight of each example's cross-entropy: (w1 - w2 q_y) / classes.

  ReconBoost [@hua2024reconboost], docs/spec/baselines.md 5.5: what the others get right counts less.

  Args:
    q: [batch, classes], probabilities that the others give.
    labels: int[batch].
    w1: of the cross-entropy.
    w2: of the reconcilement; 0: every example counts w1 / classes.

  Returns:
    float[batch], a constant to the gradient.

  Raises:
    ValueError: there is not one label for each row of `q`.
  """
  q, labels = jnp.asarray(q), jnp.asarray(labels)
  if q.ndim != 2 or labels.shape != q.shape[:1]:
    raise ValueError(
      "boosting_weights: expected q [batch, classes] and labels [batch], found"
      f" {list(q.shape)} and {list(labels.shape)}"
    )
  known = jnp.take_along_axis(jax.lax.stop_gradient(q), labels[:, None], axis=1)[:, 0]
  return (w1 - w2 * known) / q.shape[1]


def jensen_shannon(logits_p: jax.Array, logits_q: jax.Array) -> jax.Array:
  """Computes the Jensen-Shannon divergence J(p, q) = KL(p || m) / 2 + KL(q || m) / 2, m = (p + q) / 2.

  From log-softmax, so that no probability is too small for its logarithm.

  Args:
    logits_p: [batch, classes], of p.
    logits_q: of the same shape, of q.

  Returns:
    float[batch] in nats, in [0, log 2]; symmetric.

  Raises:
    ValueError: the shapes differ.
  """
  logits_p, logits_q = jnp.asarray(logits_p), jnp.asarray(logits_q)
  if logits_p.shape != logits_q.shape:
    raise ValueError(
      f"jensen_shannon: expected logits of one shape, found {list(logits_p.shape)} and"
      f" {list(logits_q.shape)}"
    )
  p, q = jax.nn.log_softmax(logits_p), jax.nn.log_softmax(logits_q)
  middle = jnp.logaddexp(p, q) - jnp.log(2.0)
  return 0.5 * (jnp.exp(p) * (p - middle) + jnp.exp(q) * (q - middle)).sum(axis=-1)
