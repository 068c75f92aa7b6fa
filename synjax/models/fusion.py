"""Fusion transformer: tokens of all modalities in, one embedding per subset and masked view out.

Sits between the adapters and the projection head; one call does all the fusion of a step. Two
implementations of one definition: "dense" runs the transformer on every subset and every masked
view; "exact" gets the same numbers from far less work (docs/spec/infmasking.md 3, docs/design.md
5.2), because

* masked tokens are all replaced by one vector, after positions were added, so in a view they stay
  identical at every layer: n of them act as one *mask slot* with log n added to its logit;
* queries, keys and values of the first layer do not depend on the view;
* with class-token pooling the last layer needs the class token's query only.

So a set of tokens, subset or view, is a row of *log counts* over slots (class token, tokens, mask
slot), added to the logits: 0 for a token that is there, log n for the mask slot, `ABSENT` for what
is not in the set. A key bias simply adds to the log count of its token.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.linen.dtypes import promote_dtype

from synjax.models.block import ABSENT, Block, layer_norm, statistics_dtype


class FusionTransformer(nn.Module):
  """Pre-norm transformer over the tokens of all modalities.

  A set of tokens is embedded by blocks of full self-attention on [CLS; tokens],

      x <- x + W_o softmax(q k^T / sqrt(d) + key_bias) v + b_o,  (q, k, v) = W LN_1(x) + b
      x <- x + W_2 QuickGELU(W_1 LN_2(x) + b_1) + b_2,  QuickGELU(u) = u sigmoid(1.702 u)

  per head of size d = width / num_heads, then the final LayerNorm and the class-token row ("cls"),
  or without class token the mean over valid tokens ("mean"; zeros for an example without any).
  Embedded are every modality alone, the full set, and K masked views of the full set, in which
  every token that is not kept is replaced by one learned vector. Masking replaces the content of a
  token, not its place: it still counts in the softmax, with its key_bias, and in the mean.

  "dense" computes this as written; "exact" gets the same numbers and gradients, from the same
  parameters: n masked tokens are one slot of weight n in the mean, with log n, or log sum
  exp(key_bias) over them, added to its logit.

  Attributes:
    width: embedding width E, a multiple of num_heads.
    num_heads: attention heads.
    num_layers: number of blocks, at least 1; scales the initial output projections.
    pool: "cls" or "mean".
    implementation: "exact" or "dense".
    dtype: dtype of compute and of the embeddings; None = that of inputs and parameters. Parameters
      stay float32; softmax and LayerNorm statistics are float32 or better.

  Raises:
    ValueError: an attribute is outside its range.

  Source: InfMasking (arXiv 2509.25270) and CoMM (ICLR 2025), docs/spec/infmasking.md 3. Differences
  from the published code: no masked views of unimodal subsets, which are unused there; padding is
  not attended to if `valid` is given (leave it out for the published pre-training).
  """

  width: int
  num_heads: int
  num_layers: int
  pool: str = "cls"
  implementation: str = "exact"
  dtype: jnp.dtype | None = None

  def setup(self):
    """Checks the options and creates the parameters, the same for both implementations."""
    if self.width % self.num_heads or self.num_layers < 1:
      raise ValueError(
        "config.model.width: expected a multiple of config.model.num_heads, and config.model.num_layers"
        f" at least 1, found {self.width}, {self.num_heads} and {self.num_layers}."
      )
    if self.pool not in ("cls", "mean") or self.implementation not in ("exact", "dense"):
      raise ValueError(
        "FusionTransformer: pool must be 'cls' or 'mean' and implementation 'exact' or 'dense', "
        f"got pool={self.pool!r}, implementation={self.implementation!r}."
      )
    shape = (1, 1, self.width)  # three axes, because weight decay spares parameters with one
    if self.pool == "cls":
      self.cls_token = self.param("cls_token", nn.initializers.normal(1.0), shape, jnp.float32)
    # Normal of standard deviation 0.02, cut (not rescaled) at one standard deviation.
    truncated_normal = nn.initializers.truncated_normal(0.02, lower=-1.0, upper=1.0)
    self.mask_token = self.param("mask_token", truncated_normal, shape, jnp.float32)
    options = (self.width, self.num_heads, self.num_layers, self.dtype)
    self.block = [Block(*options) for _ in range(self.num_layers)]
    self.norm = layer_norm(self.dtype)

  def __call__(
    self,
    tokens: Sequence[jax.Array],
    keep: jax.Array | None = None,
    num_kept: int | None = None,
    valid: jax.Array | None = None,
    key_bias: jax.Array | None = None,
  ) -> tuple[jax.Array, jax.Array | None]:
    """Embeds every unimodal subset, the full set and the masked views of the full set.

    Args:
      tokens: one [batch, length_m, width] array per modality.
      keep: bool[num_views, batch, sum(length_m)], False = replaced by the mask token; None = no
        masked views.
      num_kept: static upper bound on the True of a row of `keep`: "exact" then carries that many
        tokens per view instead of all (None). A view that keeps more valid tokens becomes NaN.
      valid: bool[batch, sum(length_m)], False = padding, never attended to and never counted.
      key_bias: [batch, sum(length_m)], added to the logit of that key for every query, whether the
        token is masked or not.

    Returns:
      (subset_embeddings [num_modalities + 1, batch, width], unimodal first and the full set last,
      masked_embeddings [num_views, batch, width] or None without `keep`).

    Raises:
      ValueError: an argument has the wrong shape or dtype, or `num_kept` is negative.
    """
    _check_inputs(tokens, self.width, keep, num_kept, valid, key_bias)
    x, mask = promote_dtype(jnp.concatenate(tokens, axis=1), self.mask_token, dtype=self.dtype)
    cls = self.cls_token.astype(x.dtype) if self.pool == "cls" else None
    valid = jnp.ones(x.shape[:2], bool) if valid is None else valid
    x = jnp.where(valid[..., None], x, 0)  # whatever fills the padding, NaN included, is gone
    key_bias = jnp.asarray(0 if key_bias is None else key_bias, statistics_dtype(x))
    log_count = jnp.where(valid, jnp.maximum(key_bias, ABSENT), ABSENT)
    ends = [0, *np.cumsum([part.shape[1] for part in tokens]).tolist()]
    spans = [*itertools.pairwise(ends), (0, ends[-1])] if len(tokens) > 1 else [(0, ends[-1])]
    if self.implementation == "dense":
      embeddings = self._embed_dense(cls, x, mask, spans, keep, valid, log_count)
    elif self.pool == "cls" and self.num_layers == 1:
      views = _lay_out_views(keep, None, valid, log_count)
      embeddings = self._embed_one_layer(cls, x, mask, spans, views, log_count)
    else:
      views = _lay_out_views(keep, num_kept, valid, log_count)
      embeddings = self._embed_packed(cls, x, mask, spans, views, valid, log_count)

    subsets, masked = jnp.split(jnp.moveaxis(embeddings, 1, 0), [len(spans)])
    if len(tokens) == 1:  # the unimodal subset is the full set
      subsets = jnp.concatenate([subsets, subsets])
    if keep is None:
      return subsets, None
    if num_kept is not None:
      too_many = (keep & valid).sum(-1, keepdims=True) > num_kept
      masked = jnp.where(too_many, jnp.nan, masked)
    return subsets, masked

  def _embed_dense(self, cls, tokens, mask, spans, keep, valid, log_count):
    """The definition: each subset and each masked view goes through the whole transformer."""

    def embed(x, valid, log_count):
      if cls is not None:
        x = jnp.concatenate([jnp.broadcast_to(cls, (*x.shape[:-2], 1, self.width)), x], axis=-2)
        log_count = _prepend_cls(log_count)
      for block in self.block:
        x = block(x, log_count)
      x = self.norm(x)
      return _weighted_mean(x, valid.astype(log_count.dtype)) if cls is None else x[..., 0, :]

    sets = [embed(tokens[:, a:b], valid[:, a:b], log_count[:, a:b]) for a, b in spans]
    if keep is not None:
      sets.extend(embed(jnp.where(keep[..., None], tokens, mask), valid, log_count))
    return jnp.stack(sets, axis=1)

  def _embed_one_layer(self, cls, tokens, mask, spans, views, log_count):
    """One layer, class token: one query for the whole batch, sets differ in log counts alone."""
    in_span = np.array([[a <= i < b for i in range(tokens.shape[1])] for a, b in spans])
    counts = jnp.where(in_span, log_count[:, None], ABSENT)
    counts = jnp.pad(counts, ((0, 0), (0, 0), (0, 1)), constant_values=ABSENT)
    if views is not None:
      counts = jnp.concatenate([counts, views.log_count], axis=1)
    block = self.block[0]
    first, final = (jnp.broadcast_to(x, (tokens.shape[0], 1, self.width)) for x in (cls, mask))
    slots = block.ln1(jnp.concatenate([first, tokens, final], axis=1))
    mixed = block.attention.attend_cls(block.ln1(cls[0, 0]), slots, _prepend_cls(counts))
    return self.norm(block.finish(cls, mixed))

  def _embed_packed(self, cls, tokens, mask, spans, views, valid, log_count):
    """Any depth and pooling: rows of all sets side by side, so that a layer is one product."""
    counts = [log_count[:, None, a:b] for a, b in spans]
    weights = [valid[:, None, a:b].astype(log_count.dtype) for a, b in spans]
    if views is not None:
      counts, weights = [*counts, views.log_count], [*weights, views.weight]
    if cls is not None:
      counts = [_prepend_cls(count) for count in counts]

    *blocks, last = self.block if self.pool == "cls" else (*self.block, None)
    x = _pack(cls, tokens, mask, spans, views)
    for index, block in enumerate(blocks):
      if index == 0:  # nothing has been mixed yet: project every token once for all sets
        slots = [None if slot is None else block.project(slot) for slot in (cls, tokens, mask)]
        packed = _pack(*slots, spans, views)
      else:
        packed = block.project(x)
      sets = zip(_unpack(packed, counts), counts, strict=True)
      mixed = [_flatten(block.attention.attend(rows, count)) for rows, count in sets]
      x = block.finish(x, jnp.concatenate(mixed, axis=1))

    if self.pool == "mean":
      sets = zip(_unpack(self.norm(x), counts), weights, strict=True)
      pooled = [_weighted_mean(rows, weight) for rows, weight in sets]
      return jnp.concatenate(pooled, axis=1)
    # Only the class token's row is read from the last layer.
    cls_rows = jnp.concatenate([rows[:, :, 0] for rows in _unpack(x, counts)], axis=1)
    sets = zip(_unpack(last.ln1(x), counts), counts, strict=True)
    mixed = [
      _flatten(last.attention.attend_cls(rows[:, :, 0], rows, count[..., None, :]))
      for rows, count in sets
    ]
    return self.norm(last.finish(cls_rows, jnp.concatenate(mixed, axis=1)))


def _prepend_cls(log_count):
  """Adds the class token, present once in every set, in front of [..., slots]."""
  return jnp.pad(log_count, [(0, 0)] * (log_count.ndim - 1) + [(1, 0)])


def _weighted_mean(x, weight):
  """Mean of [..., slots, width] over slots, each counted `weight` [..., slots] times."""
  total = jnp.einsum("...se,...s->...e", x.astype(weight.dtype), weight)
  return (total / jnp.maximum(weight.sum(-1, keepdims=True), 1)).astype(x.dtype)


class _Views(NamedTuple):
  """K masked views as rows: kept tokens (or all, where no bound is known), then the mask slot."""

  select: jax.Array | None  # bool[batch, views, rows, tokens]: row r is the view's r-th kept token
  log_count: jax.Array  # [batch, views, rows + 1]
  weight: jax.Array  # [batch, views, rows + 1], how many tokens a row stands for


def _lay_out_views(keep, num_kept, valid, log_count):
  """Lays out the masked views: keep [views, batch, tokens], valid and log_count [batch, tokens]."""
  if keep is None:
    return None
  kept = jnp.moveaxis(keep, 0, 1) & valid[:, None]
  masked = ~kept & valid[:, None]
  row_count = log_count[:, None]
  # Without key biases this is log n, and close to ABSENT for n = 0.
  mask_count = jax.nn.logsumexp(jnp.where(masked, row_count, ABSENT), axis=-1, keepdims=True)
  select, present = None, kept
  if num_kept is not None and num_kept < kept.shape[-1]:
    rank = jnp.cumsum(kept, axis=-1) - 1
    select = kept[..., None, :] & (rank[..., None, :] == jnp.arange(num_kept)[:, None])
    present = select.any(-1)
    row_count = jnp.where(select, row_count[..., None, :], 0).sum(-1)
  row_count = jnp.where(present, row_count, ABSENT)
  weight = jnp.concatenate([present, masked.sum(-1, keepdims=True)], axis=-1)
  row_count = jnp.concatenate([row_count, mask_count], axis=-1)
  return _Views(select, row_count, weight.astype(log_count.dtype))


def _pack(cls, tokens, mask, spans, views):
  """Rows of every subset and masked view, side by side: [batch, rows, features].

  From cls [1, 1, features] or None, tokens [batch, tokens, features] and mask [1, 1, features].
  """
  batch, num_tokens, features = tokens.shape
  head = [] if cls is None else [jnp.broadcast_to(cls, (batch, 1, features))]
  rows = [part for start, stop in spans for part in (*head, tokens[:, start:stop])]
  if views is not None:
    num_views = views.weight.shape[1]
    if views.select is None:
      kept = jnp.broadcast_to(tokens[:, None], (batch, num_views, num_tokens, features))
    else:
      # One-hot product, not a gather, whose gradient (scatter-add) is slow and irreproducible on
      # GPUs. At the highest precision it copies exactly.
      select = views.select.astype(tokens.dtype)
      kept = jnp.einsum("bkrl,blf->bkrf", select, tokens, precision=jax.lax.Precision.HIGHEST)
    head = [jnp.broadcast_to(part[:, None], (batch, num_views, 1, features)) for part in head]
    mask = jnp.broadcast_to(mask[:, None], (batch, num_views, 1, features))
    rows.append(_flatten(jnp.concatenate([*head, kept, mask], axis=2)))
  return jnp.concatenate(rows, axis=1)


def _unpack(rows, groups):
  """Cuts [batch, rows, features] into [batch, sets, slots, features], as [batch, sets, slots]."""
  sizes = [group.shape[1] * group.shape[2] for group in groups]
  parts = jnp.split(rows, np.cumsum(sizes)[:-1], axis=1)
  return [part.reshape(*group.shape, -1) for part, group in zip(parts, groups, strict=True)]


def _flatten(rows):
  """[batch, sets, slots, features] -> [batch, sets * slots, features]."""
  return rows.reshape(rows.shape[0], -1, rows.shape[-1])


def _check_inputs(tokens, width, keep, num_kept, valid, key_bias):
  """Raises ValueError for arguments of `FusionTransformer` that do not fit together."""
  shapes = [part.shape for part in tokens]
  widths = [shape[-1] for shape in shapes if len(shape) == 3]
  if widths and set(widths) != {width}:
    raise ValueError(
      f"config.model.width: expected tokens of this width, {width}, found {', '.join(map(str, widths))}"
      " of the modalities in their order; set it to theirs, or config.model.modalities.*.adapter.name to"
      " projection where a sequence has another one"
    )
  if not shapes or any(len(s) != 3 or (s[0], s[2]) != (shapes[0][0], width) for s in shapes):
    raise ValueError(
      "FusionTransformer: tokens must be one [batch, length, width] array per modality with the "
      f"same batch and width={width}, got shapes {shapes}."
    )
  expected = (shapes[0][0], sum(shape[1] for shape in shapes))
  for name, array in (("keep", keep), ("valid", valid), ("key_bias", key_bias)):
    if array is None:
      continue
    axes, kind = 3 if name == "keep" else 2, "float" if name == "key_bias" else "bool"
    fits = array.ndim == axes and array.shape[-2:] == expected
    if not fits or (array.dtype == bool) != (kind == "bool"):
      raise ValueError(
        f"FusionTransformer: {name} must be {kind} with {axes} axes, the last two [batch, "
        f"sum(length)] = {expected}, got {array.dtype}{array.shape}."
      )
  if num_kept is not None and num_kept < 0:
    raise ValueError(f"FusionTransformer: num_kept must not be negative, got {num_kept}.")
