"""Which tokens the K masked views keep; `keep` (True = kept) hides tokens between adapters and fusion."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from synjax.masking.draws import threefry


def num_kept(length: int, mask_ratio: float) -> int:
  """Returns how many of `length` tokens a masked view keeps.

  `int(length * (1 - mask_ratio))` in double precision, truncation included: 10 tokens at ratio 0.8
  keep 1, because 10 * (1 - 0.8) is 1.9999999999999996. A modality of one token keeps none.

  Args:
    length: number of tokens of one modality that are not padding.
    mask_ratio: fraction of tokens to hide, in [0, 1).

  Returns:
    Number of kept tokens, from 0 to `length`.

  Raises:
    ValueError: `mask_ratio` is outside [0, 1), or `length` is negative.

  Source: docs/spec/infmasking.md 3.2 (table of kept counts), as the published code computes it.
  """
  if not 0 <= mask_ratio < 1:
    raise ValueError(f"mask_ratio must be in [0, 1), the fraction of tokens hidden: {mask_ratio}.")
  if length < 0:
    raise ValueError(f"num_kept: length must not be negative: {length}.")
  return int(length * (1.0 - float(mask_ratio)))


def sample_keep(
  keys: jax.Array,
  lengths: Sequence[int],
  mask_ratio: float,
  num_views: int,
  valid: jax.Array | None = None,
  *,
  at_least: int = 0,
) -> jax.Array:
  """Samples which tokens each masked view keeps.

  For every example, view and modality independently, `num_kept(number of valid tokens, mask_ratio)`
  of the valid tokens are kept, every such subset equally likely. Padding is never kept. The draw
  of an example depends on its own key alone, whatever the batch around it.

  Args:
    keys: one PRNG key per example, [batch].
    lengths: tokens of each modality, padding included, in fusion order.
    mask_ratio: fraction of valid tokens to hide, in [0, 1).
    num_views: number of masked views K, at least 1.
    valid: bool[batch, sum(lengths)], False = padding; None = every token is real.
    at_least: valid tokens of a modality that are kept whatever the ratio, where it has so many.

  Returns:
    bool[num_views, batch, sum(lengths)], True = kept.

  Raises:
    ValueError: `num_views` is below 1, `mask_ratio` is outside [0, 1), or `valid` has another shape
      or is not boolean.

  Source: InfMasking (arXiv 2509.25270), docs/spec/infmasking.md 3.2. Differences from the published
  code: masks are drawn for the full set only (those of unimodal subsets are never used there), and
  with `valid` padding neither takes part in the draw nor counts; pass None for the published rule.
  """
  if num_views < 1:
    raise ValueError(f"sample_keep: num_views must be at least 1: {num_views}.")
  keys = threefry(keys)
  batch, total = keys.shape[0], sum(lengths)
  if valid is None:
    valid = jnp.ones((batch, total), bool)
  if valid.shape != (batch, total) or valid.dtype != bool:
    raise ValueError(
      f"sample_keep: valid must be bool[batch, sum(lengths)] = bool{(batch, total)}, "
      f"found {valid.dtype}{valid.shape}."
    )
  draws = jax.vmap(lambda key: jax.random.bits(key, (num_views, total), jnp.uint32))(keys)
  keep, start = [], 0
  for length in lengths:
    modality = slice(start, start + length)
    # The number of valid tokens is traced, the truncation needs doubles: look it up.
    counts = np.arange(length + 1)
    kept = [num_kept(count, mask_ratio) for count in counts.tolist()]
    table = np.maximum(kept, np.minimum(counts, at_least)).astype(np.int32)
    counts = jnp.asarray(table)[valid[:, modality].sum(-1)]
    keep.append(_keep_lowest(draws[..., modality], valid[:, None, modality], counts[:, None, None]))
    start += length
  return jnp.moveaxis(jnp.concatenate(keep, axis=-1), 1, 0)


def _keep_lowest(draws, valid, counts):
  """Keeps the `counts` valid tokens of [batch, views, length] with the lowest draws."""
  length = draws.shape[-1]
  # Low bits of each draw are the token's position: no ties, so one sort gives exact counts.
  position_bits = (length - 1).bit_length()
  draws = (draws >> position_bits << position_bits) | jnp.arange(length, dtype=jnp.uint32)
  draws = jnp.where(valid, draws, np.uint32(2**32 - 1))
  last_kept = jnp.take_along_axis(jnp.sort(draws), jnp.maximum(counts - 1, 0), axis=-1)
  return (draws <= last_kept) & valid & (counts > 0)
