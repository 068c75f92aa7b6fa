"""Nearest-neighbour accuracy of frozen embeddings: no training, no cost to choose.

Runs on the embeddings of whole splits beside the linear probe; it sees local structure that a
linear map may miss, and the reverse.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from synjax.evaluators.estimators import logistic, metrics

_SIMILARITIES_PER_CHUNK = 2**25  # 128 MiB of float32


def knn_accuracy(
  train_features: np.ndarray,
  train_labels: np.ndarray,
  test_features: np.ndarray,
  test_labels: np.ndarray,
  *,
  num_classes: int,
  num_neighbors: int = 20,
  temperature: float = 0.07,
) -> dict[str, float]:
  """Classifies test examples by a weighted vote of their nearest training examples.

  With cosine similarities s_i of the `num_neighbors` most similar training examples, class c gets
  `sum_i exp(s_i / temperature) [label_i = c]` and the largest sum wins (the lower class on ties).
  The field's standard form; its 200 neighbours are for ImageNet's 1.3 million examples, the default
  20 for the thousands of the datasets here.

  Args:
    train_features: `[train, dim]`; normalised here.
    train_labels: classes `[train]`, in [0, num_classes).
    test_features: `[test, dim]`.
    test_labels: classes `[test]`.
    num_classes: number of classes.
    num_neighbors: votes per test example; all training examples if there are fewer.
    temperature: of the weights, positive; a large one gives the plain majority vote.

  Returns:
    The fractions of `metrics.accuracies`.

  Raises:
    ValueError: a split does not fit (it is named), or a hyper-parameter is not positive.

  Source: Z. Wu et al., Unsupervised feature learning via non-parametric instance discrimination,
  CVPR 2018, section 3.4. Not part of the published InfMasking evaluation.
  """
  if num_neighbors < 1 or not temperature > 0:
    raise ValueError(
      "knn_accuracy: num_neighbors must be at least 1 and temperature positive, got "
      f"{num_neighbors} and {temperature}."
    )
  check = functools.partial(logistic.check_examples, num_classes=num_classes)
  train_features, train_labels = check("train", train_features, train_labels)
  dim = train_features.shape[1]
  test_features, test_labels = check("test", test_features, test_labels, dim=dim)
  num_train, num_test = len(train_labels), len(test_labels)
  num_chunks = -(-num_test * num_train // _SIMILARITIES_PER_CHUNK)
  chunk = -(-num_test // num_chunks)
  filler = np.zeros((num_chunks * chunk - num_test, dim), test_features.dtype)
  chunks = np.concatenate([test_features, filler]).reshape(num_chunks, chunk, dim)
  predictions = _classify(
    train_features,
    train_labels,
    chunks,
    temperature,
    num_neighbors=min(num_neighbors, num_train),
    num_classes=num_classes,
  )
  predictions = np.asarray(predictions).reshape(-1)[:num_test]
  return metrics.accuracies(predictions, test_labels)


@functools.partial(jax.jit, static_argnames=("num_neighbors", "num_classes"))
def _classify(features, labels, chunks, temperature, *, num_neighbors, num_classes) -> jax.Array:
  """Predicted classes `[chunks, chunk]` of queries `[chunks, chunk, dim]`."""
  features = _normalize(features)

  def classify_chunk(queries):
    similarities = jnp.matmul(_normalize(queries), features.T, precision=jax.lax.Precision.HIGHEST)
    nearest, indices = jax.lax.top_k(similarities, num_neighbors)
    # Relative to the nearest, so that a small temperature does not overflow.
    weights = jnp.exp((nearest - nearest[:, :1]) / temperature)
    votes = labels[indices][:, :, None] == jnp.arange(num_classes)
    return jnp.where(votes, weights[:, :, None], 0).sum(1).argmax(1)

  return jax.lax.map(classify_chunk, chunks)


def _normalize(features) -> jax.Array:
  """Rows of unit length; rows of zeros stay zero."""
  norm = jnp.linalg.norm(features, axis=-1, keepdims=True)
  return features / jnp.where(norm > 0, norm, 1)
