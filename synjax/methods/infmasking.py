"""InfMasking: CoMM plus alignment of the fusion with K masked fusions of the same example."""

from synjax import losses, masking
from synjax.methods.comm import CoMM, at_least_float32


class InfMasking(CoMM):
  """InfMasking (NeurIPS 2025, arXiv 2509.25270).

  L = (1 / (n + 3)) sum of [bound(view 1), bound(view 2), CoMM's n + 1 terms], each times its weight,
  with rho = mask_lambda (epoch + 1) / epochs. Masked views of single modalities, which the published
  code computes and discards, are not computed.

  Config (`config.method`): CoMM's, and `mask_ratio` in [0, 1): share of each modality's tokens that
  is masked; `num_views`: K >= 1; `mask_lambda`: final rho, which scales the variance of the bound and
  not the loss; `ramp`: "linear" (published) or "constant" (rho = mask_lambda throughout).
  """

  masks_views = True

  def __init__(self, config, dataset):
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
  def follows_length(self):
    """Names the ramp of rho, where there is one."""
    return ("method.ramp=linear",) * (self.config.method.ramp == "linear")

  @property
  def term_names(self):
    """Names of the loss terms, in order."""
    return ("masked_aug1", "masked_aug2", *super().term_names)

  def keep(self, view, info):
    """Draws which tokens survive in the K masked views of one view, with the count's upper bound."""
    return lambda lengths, valid: (
      masking.sample_keep(
        info.keys(f"keep/{view}"),
        lengths,
        self.config.method.mask_ratio,
        self.config.method.num_views,
        valid,
      ),
      sum(masking.num_kept(length, self.config.method.mask_ratio) for length in lengths),
    )

  def loss(self, params, model_state, batch, info, phase="all"):
    """Computes the mean of the two bounds and CoMM's terms on two augmented views."""
    keep = [self.keep(view, info) for view in self.views]
    (views, masked), model_state = self.project_views(params, model_state, batch, info, keep)
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

  def embed_masked(self, params, model_state, batch, info):
    """Returns the fusion of K masked views, [num_views, batch, dim], before the projection head."""
    variables = {"params": params, **model_state}
    masked = self.model.apply(
      variables, batch, self.keep("clean", info), method="masked_embeddings"
    )
    return at_least_float32(masked)
