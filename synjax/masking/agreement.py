"""How well masks agree with the features that are known to matter, and with each other."""

import jax
import jax.numpy as jnp
from jax.scipy.stats import rankdata


def overlap(flagged: jax.Array, truth: jax.Array) -> dict[str, jax.Array]:
  """Compares flagged coordinates F with the true ones G, example by example.

  Args:
    flagged: bool[batch, features].
    truth: bool[features].

  Returns:
    "iou" |F & G| / |F | G|, "precision" |F & G| / |F|, "recall" |F & G| / |G|, each float[batch]; 1 where
    the denominator is 0: nothing is missed and nothing is wrong.

  Source: docs/spec/synib_release.md 7. What the published sweep logs as "iou" is a recall.
  """
  count = lambda which: which.sum(axis=-1).astype(jnp.float32)  # noqa: E731
  hits = count(flagged & truth)
  sizes = {
    "iou": flagged | truth,
    "precision": flagged,
    "recall": jnp.broadcast_to(truth, flagged.shape),
  }
  totals = {name: count(which) for name, which in sizes.items()}
  return {name: jnp.where(n > 0, hits / jnp.maximum(n, 1), 1.0) for name, n in totals.items()}


def auroc(scores: jax.Array, truth: jax.Array) -> jax.Array:
  """Returns how well scores rank the true coordinates above the others, float[batch].

  (sum of the ranks of the true ones - n+ (n+ + 1) / 2) / (n+ n-), ties at their mean rank; NaN where all
  or none of the coordinates are true.

  Args:
    scores: float[batch, features].
    truth: bool[features].

  Source: docs/spec/synib_release.md 7.
  """
  positive = truth.sum().astype(jnp.float32)
  negative = truth.size - positive
  ranks = jnp.sum(rankdata(scores, axis=-1) * truth, axis=-1)
  pairs = positive * negative
  found = (ranks - positive * (positive + 1) / 2) / jnp.maximum(pairs, 1)
  return jnp.where(pairs > 0, found, jnp.nan)


def split_half(scores: jax.Array, counted: jax.Array) -> jax.Array:
  """Returns the rank correlation of the mean scores of two halves of a batch, a scalar in [-1, 1].

  Spearman's, over coordinates; the halves are the examples at even and at odd places. 0 where one of the
  two means is the same everywhere.

  Args:
    scores: float[batch, ...].
    counted: bool[batch], False = left out.

  Source: docs/spec/synib_release.md 7, which gives a name and no formula.
  """
  scores, counted = scores.reshape(len(scores), -1), counted[:, None]
  ranks = []
  for half in (slice(0, None, 2), slice(1, None, 2)):
    total = jnp.where(counted[half], scores[half], 0).sum(axis=0)
    ranks.append(rankdata(total))
  a, b = (rank - rank.mean() for rank in ranks)
  scale = jnp.sqrt(jnp.sum(a**2) * jnp.sum(b**2))
  return jnp.where(scale > 0, jnp.sum(a * b) / jnp.where(scale > 0, scale, 1), 0.0)
