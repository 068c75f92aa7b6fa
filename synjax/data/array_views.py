"""Views of a user's vectors and sequences: what hides or changes features, and leaves the label in reach.

Beside the published operations on rows (`sequence_views`: noise, dropped steps) these act on features,
in the units of the stored values: standardised ones have mean 0 and deviation 1, so that 0 says nothing.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from synjax.data import pipeline
from synjax.data.sequence_views import sequence_transform, threefry

_POOL_BYTES = 2**21  # of values that features are swapped for; part of the compiled program
_POOL_SEED = 0
# Random streams of an example's key; `sequence_views` has the first ones.
_STREAMS = {name: 64 + i for i, name in enumerate(("crop", "scale", "swap", "drop_features"))}


class Strength(NamedTuple):
  """How strong the operations of this module are; 0: not at all.

  Attributes:
    swap: probability that an entry is swapped for the same feature of another example.
    drop_features: probability that a feature is 0 throughout.
    scale: deviation of log factors, one a feature of an example.
    crop: largest share of a sequence's steps that are cut off, 0 before and after what is left.
  """

  swap: float = 0.0
  drop_features: float = 0.0
  scale: float = 0.0
  crop: float = 0.0


def make_pool(rows: np.ndarray) -> np.ndarray:
  """Returns training rows to swap features for: all, or as many, drawn once, as a program may hold.

  Args:
    rows: float32[rows, features]: vectors, or the real steps of sequences.

  Returns:
    float32[at least 1 row, features].
  """
  count = max(1, min(len(rows), _POOL_BYTES // (4 * rows.shape[1])))
  chosen = np.random.default_rng(_POOL_SEED).permutation(len(rows))[:count]
  return rows[np.sort(chosen)]


def array_transform(
  ndim: int, pool: np.ndarray, *, probability: float, drop_fraction: float, noise_std: float,
  **strength: float,
) -> pipeline.Transform:  # fmt: skip
  """Makes the views of a vector or a sequence.

  First drop (of sequences) and noise, see `sequence_views.sequence_transform`; then, each with
  `probability`, of sequences a crop: g ~ U(0, crop), and round((1 - g) T) consecutive steps, at least
  one, are left; scale: x_f <- x_f exp(scale n_f), n_f ~ N(0, 1); swap: every entry, with probability
  swap, for the same feature of a training row of its own, uniform over `pool`, so that a feature keeps
  its distribution (SCARF, arXiv 2106.15147); drop_features: every feature, with that probability, for 0.
  What is padding is returned as it came.

  Args:
    ndim: of the stored array: 2 of vectors, 3 of sequences.
    pool: of `make_pool`.
    probability: of each operation.
    drop_fraction: see `sequence_transform`.
    noise_std: likewise, in the units of the stored values.
    **strength: see `Strength`.

  Returns:
    `Transform`, called as that of `sequence_transform`; where nothing is of this module, the same.
  """
  strong = Strength(**strength)
  strong = strong if ndim == 3 else strong._replace(crop=0.0)
  rows = sequence_transform(
    ("drop", "noise") if ndim == 3 else ("noise",),
    probability=probability,
    drop_fraction=drop_fraction,
    noise_std=noise_std,
  )
  if not any(strong):
    return rows
  operations = {
    "crop": lambda key, x, valid: _crop(key, x, valid, strong.crop),
    "scale": lambda key, x, valid: x * jnp.exp(strong.scale * _per_feature(key, x, "normal")),
    "swap": lambda key, x, valid: _swap(key, x, pool, strong.swap),
    "drop_features": lambda key, x, valid: jnp.where(
      _per_feature(key, x, "uniform") < strong.drop_features, 0, x
    ),
  }

  def view(key, x, valid):
    original = x
    for name, operation in operations.items():
      if getattr(strong, name) > 0:
        applied, key_of = jax.random.split(jax.random.fold_in(key, _STREAMS[name]))
        changed = operation(key_of, x, valid)
        x = jnp.where(jax.random.uniform(applied) < probability, changed, x)
    return x if valid is None else jnp.where(valid[:, None], x, original)

  def augment(keys, values, *, view_keys=None, valid=None):
    x = rows.augment(keys, values, view_keys=view_keys, valid=valid)
    return jax.vmap(view)(threefry(keys), x, valid)

  return pipeline.Transform(augment=augment, evaluate=rows.evaluate)


def _per_feature(key, x, kind):
  """Draws one number a feature of x [..., features]."""
  return getattr(jax.random, kind)(key, x.shape[-1:], x.dtype)


def _swap(key, x, pool, probability):
  """Swaps entries of x [..., features] for those of rows of the pool, each entry's its own."""
  which, row = jax.random.split(key)
  rows = jax.random.randint(row, x.shape, 0, len(pool))
  others = jnp.asarray(pool, x.dtype)[rows, jnp.arange(x.shape[-1])]
  return jnp.where(jax.random.uniform(which, x.shape) < probability, others, x)


def _crop(key, x, valid, largest):
  """Leaves consecutive steps of x [length, features]; the others are 0."""
  share, start = jax.random.uniform(key, (2,))
  real = jnp.ones(len(x), bool) if valid is None else valid
  total = real.sum()
  left = jnp.maximum(jnp.round((1 - largest * share) * total).astype(jnp.int32), 1)
  first = jnp.floor(start * (total - left + 1)).astype(jnp.int32)
  time = jnp.cumsum(real) - 1
  return jnp.where(((time >= first) & (time < first + left))[:, None], x, 0)
