"""Nearest-neighbour accuracy of frozen embeddings: no training, no cost to choose.

Runs on the embeddings of whole splits beside the linear probe; it sees local structure that a
linear map may miss, and the reverse.
"""

import functools
from collections.abc import Mapping

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
  (found,) = knn_accuracies(
    train_features,
    {"": train_labels},
    test_features,
    {"": test_labels},
    num_classes={"": num_classes},
    num_neighbors=num_neighbors,
    temperature=temperature,
  ).values()
  return found


def knn_accuracies(
  train_features: np.ndarray,
  train_labels: Mapping[str, np.ndarray],
  test_features: np.ndarray,
  test_labels: Mapping[str, np.ndarray],
  *,
  num_classes: Mapping[str, int],
  num_neighbors: int = 20,
  temperature: float = 0.07,
) -> dict[str, dict[str, float]]:
  """Returns task -> `knn_accuracy` of several tasks on the same features: neighbours are sought once."""
  if num_neighbors < 1 or not temperature > 0:
    raise ValueError(
      "knn_accuracy: num_neighbors must be at least 1 and temperature positive, got "
      f"{num_neighbors} and {temperature}."
    )
  labels = {}
  for task, classes in num_classes.items():
    check = functools.partial(logistic.check_examples, num_classes=classes)
    train_features, learned = check("train", train_features, train_labels[task])
    dim = train_features.shape[1]
    test_features, target = check("test", test_features, test_labels[task], dim=dim)
    labels[task] = learned, target
  if not labels:
    return {}
  neighbors = _find(train_features, test_features, temperature, num_neighbors)
  return {
    task: metrics.accuracies(
      np.asarray(_vote(*neighbors, learned, num_classes=num_classes[task])), target
    )
    for task, (learned, target) in labels.items()
  }


def label_votes(
  train_features: np.ndarray,
  train_labels: np.ndarray,
  test_features: np.ndarray,
  *,
  num_neighbors: int = 20,
  temperature: float = 0.07,
) -> np.ndarray:
  """Computes the share of each label in the vote of `knn_accuracy`, of several labels an example.

  `sum_i exp(s_i / temperature) y_ik / sum_i exp(s_i / temperature)`: each label is decided on its own, as
  of two classes, and an example has it by majority where its share is above 1/2.

  Args:
    train_features: `[train, dim]`; normalised here.
    train_labels: `[train, labels]` of 0 and 1.
    test_features: `[test, dim]`.
    num_neighbors: as there.
    temperature: as there.

  Returns:
    float64`[test, labels]` in [0, 1].
  """
  train, test = (np.asarray(x, np.float32) for x in (train_features, test_features))
  rows, weights = map(np.asarray, _find(train, test, temperature, num_neighbors))
  weights = weights.astype(np.float64)
  votes = np.einsum("tn,tnk->tk", weights, np.asarray(train_labels, np.float64)[rows])
  return votes / weights.sum(axis=1, keepdims=True)


def _find(train, test, temperature: float, num_neighbors: int) -> tuple[jax.Array, jax.Array]:
  """Returns rows of the nearest training examples and the weight of each, `[test, neighbors]`."""
  (num_train, dim), num_test = train.shape, len(test)
  num_chunks = -(-num_test * num_train // _SIMILARITIES_PER_CHUNK)
  chunk = -(-num_test // num_chunks)
  filler = np.zeros((num_chunks * chunk - num_test, dim), test.dtype)
  chunks = np.concatenate([test, filler]).reshape(num_chunks, chunk, dim)
  found = _find_in_chunks(train, chunks, temperature, num_neighbors=min(num_neighbors, num_train))
  return jax.tree.map(lambda x: x.reshape(num_chunks * chunk, -1)[:num_test], found)


@functools.partial(jax.jit, static_argnames="num_neighbors")
def _find_in_chunks(train, chunks, temperature, *, num_neighbors) -> tuple[jax.Array, jax.Array]:
  train = _normalize(train)

  def find(queries):
    similarities = jnp.matmul(_normalize(queries), train.T, precision=jax.lax.Precision.HIGHEST)
    nearest, rows = jax.lax.top_k(similarities, num_neighbors)
    # Relative to the nearest, so that a small temperature does not overflow.
    return rows, jnp.exp((nearest - nearest[:, :1]) / temperature)

  return jax.lax.map(find, chunks)


@functools.partial(jax.jit, static_argnames="num_classes")
def _vote(rows, weights, labels, *, num_classes) -> jax.Array:
  """Predicted classes `[test]`."""
  votes = labels[rows][:, :, None] == jnp.arange(num_classes)
  return jnp.where(votes, weights[:, :, None], 0).sum(1).argmax(1)


def _normalize(features) -> jax.Array:
  """Rows of unit length; rows of zeros stay zero."""
  norm = jnp.linalg.norm(features, axis=-1, keepdims=True)
  return features / jnp.where(norm > 0, norm, 1)
