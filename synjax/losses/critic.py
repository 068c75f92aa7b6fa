"""Bounds on mutual information from a critic's scores of every pair of a batch."""

import jax
import jax.numpy as jnp

from synjax.losses.contrastive import candidates, mean_of_valid


def info_nce_lower(scores: jax.Array, *, valid: jax.Array | None = None) -> jax.Array:
  r"""Computes the InfoNCE lower bound on mutual information.

      low(M) = mean_i M_ii - mean_i log sum_j e^{M_ij} + log N

  The positive is among the candidates, so the bound is at most log N. FactorCL (arXiv 2306.05268),
  docs/spec/baselines.md 3.7.

  Args:
    scores: M [batch, batch], of the pair (x_j, y_i); pairs of the joint distribution on the diagonal.
    valid: bool[batch], False = takes no part, neither as x nor as y; None: all do.

  Returns:
    Scalar, nats; of valid examples alone, 0 where there is none.

  Raises:
    ValueError: scores that are not square.
  """
  _check_square("info_nce_lower", scores)
  normalizers = jax.nn.logsumexp(candidates(scores, valid), axis=1)
  count = float(len(scores)) if valid is None else jnp.maximum(valid.sum(), 1).astype(scores.dtype)
  return mean_of_valid(jnp.diagonal(scores) - normalizers, valid) + jnp.log(count)


def club_upper(scores: jax.Array, *, valid: jax.Array | None = None) -> jax.Array:
  r"""Computes the NCE-CLUB upper bound on mutual information.

      up(M) = mean_i M_ii - mean_ij M_ij

  A bound where the critic is the one that maximises `info_nce_lower`: fit it by that. FactorCL
  (arXiv 2306.05268), docs/spec/baselines.md 3.7.

  Args:
    scores: as of `info_nce_lower`.
    valid: likewise.

  Returns:
    Scalar, nats; likewise.

  Raises:
    ValueError: scores that are not square.
  """
  _check_square("club_upper", scores)
  others = (
    scores.mean(axis=1) if valid is None else jax.vmap(mean_of_valid, (0, None))(scores, valid)
  )
  return mean_of_valid(jnp.diagonal(scores) - others, valid)


def _check_square(name: str, scores: jax.Array) -> None:
  if scores.ndim != 2 or scores.shape[0] != scores.shape[1]:
    raise ValueError(f"{name} needs scores of every pair [batch, batch], found {scores.shape}")
