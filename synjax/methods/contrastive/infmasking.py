"""InfMasking: CoMM plus alignment of the fusion with K masked fusions of the same example."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict
from typing_extensions import override

from synjax import losses, masking
from synjax.data.pipeline import Batch, Dataset
from synjax.methods.base import Info, Out
from synjax.methods.contrastive.comm import CoMM
from synjax.models.precision import at_least_float32


class InfMasking(CoMM):
  """InfMasking (NeurIPS 2025, arXiv 2509.25270).

  L = (1 / (n + 3)) sum of [bound(view 1), bound(view 2), CoMM's n + 1 terms], each times its weight,
  with rho = mask_lambda (epoch + 1) / epochs. Masked views of single modalities, which the published
  code computes and discards, are not computed.
  """

  masks_views = True

  def __init__(self, config: ConfigDict, dataset: Dataset):
    super().__init__(config, dataset)
    method = config.method
    if method.num_views < 1:
      raise ValueError(f"config.method.num_views: expected K >= 1, found {method.num_views}")
    if not 0 <= method.mask_ratio < 1:
      raise ValueError(f"config.method.mask_ratio: expected in [0, 1), found {method.mask_ratio}")
    if method.ramp not in ("linear", "constant"):
      raise ValueError(f"config.method.ramp: expected linear or constant, found {method.ramp!r}")
    if method.mask_lambda < 0:
      raise ValueError(f"config.method.mask_lambda: expected >= 0, found {method.mask_lambda}")

  @property
  @override
  def follows_length(self) -> tuple[str, ...]:
    return ("method.ramp=linear",) * (self.config.method.ramp == "linear")

  @property
  @override
  def term_names(self) -> tuple[str, ...]:
    return ("masked_aug1", "masked_aug2", *super().term_names)

  def sample_keep(
    self, view: str, info: Info, lengths: Sequence[int], valid: jax.Array | None
  ) -> tuple[jax.Array, int]:
    """Draws which tokens survive in the K masked views of one view.

    Args:
      view: its name, or that of another random stream.
      info: whose keys are drawn from.
      lengths: tokens of each modality.
      valid: bool[batch, sum(lengths)], False = padding; None: nothing is.

    Returns:
      (bool[num_views, batch, sum(lengths)], upper bound of the tokens kept in a row of it).
    """
    ratio, num_views = self.config.method.mask_ratio, self.config.method.num_views
    keep = masking.sample_keep(info.keys(f"keep/{view}"), lengths, ratio, num_views, valid)
    return keep, sum(masking.num_kept(length, ratio) for length in lengths)

  @override
  def loss(
    self, params: Any, model_state: Any, batch: Mapping[str, Batch], info: Info, phase: str = "all"
  ) -> Out:
    tokens, valid, model_state = self.encode_views(params, model_state, batch, info)
    lengths, count = [t.shape[1] for t in tokens], len(self.views)
    parts = [None] * count if valid is None else jnp.split(valid, count)
    drawn = [
      self.sample_keep(view, info, lengths, real)
      for view, real in zip(self.views, parts, strict=True)
    ]
    keep, num_kept = jnp.concatenate([keep for keep, _ in drawn], axis=1), drawn[0][1]
    views, masked, model_state = self.project(
      params, model_state, batch, info, tokens, valid, keep, num_kept
    )
    method, present = self.config.method, self.present(batch, info)
    progress = info.progress if method.ramp == "linear" else 1.0
    terms = losses.infmasking_terms(
      *views,
      *masked,
      temperature=self.temperature,
      variance_scale=method.mask_lambda * progress,
      valid=present,
    )
    return self.weighted(terms, views, model_state, present)

  @override
  def embed_masked(self, params: Any, model_state: Any, batch: Batch, info: Info) -> jax.Array:
    variables = {"params": params, **model_state}
    tokens, valid = self.model.apply(variables, batch, method="tokens")
    keep = self.sample_keep("clean", info, [t.shape[1] for t in tokens], valid)
    _, masked = self.model.apply(variables, tokens, *keep, valid=valid, method="fuse")
    return at_least_float32(masked)

  @override
  def masked_scores(
    self, params: Any, model_state: Any, batch: Batch, info: Info, num_masks: int
  ) -> jax.Array:
    # Encoders run once, and as many masked views are fused at a time as in training: what fits there
    # fits here. The head too is in evaluation mode: in training, statistics of its batch normalise z_k.
    if num_masks < 1:
      raise ValueError(f"masked_scores: num_masks: expected >= 1, found {num_masks}")
    model, variables = self.model, {"params": params, **model_state}
    tokens, valid = model.apply(variables, batch, method="tokens")
    lengths = [t.shape[1] for t in tokens]

    def project(model, keep=None, num_kept=None):
      subsets, masked = model.fusion(tokens, keep, num_kept, valid=valid)
      projected = model.head(subsets[-1] if keep is None else masked, train=False)
      return losses.normalize(at_least_float32(projected))

    anchor = model.apply(variables, method=project)

    def one_pass(key):
      keep = self.sample_keep("gaussianity", info.replace(key=key), lengths, valid)
      masked = model.apply(variables, *keep, method=project)
      return jnp.einsum("bd,kbd->kb", anchor, masked, precision=jax.lax.Precision.HIGHEST)

    num_passes = -(-num_masks // self.config.method.num_views)
    cosines = jax.lax.map(one_pass, jax.random.split(info.key, num_passes))
    return cosines.reshape(-1, len(info.index))[:num_masks].T / self.temperature
