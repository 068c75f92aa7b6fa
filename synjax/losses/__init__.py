"""Losses: pure functions on arrays. Nothing else from synjax is imported here."""

from synjax.losses.confidence import (
  bernoulli_kl,
  categorical_kl,
  categorical_kl_of_logs,
  dirichlet_kl,
  gaussian_kl,
)
from synjax.losses.contrastive import (
  clip_loss,
  comm_terms,
  mean_of_valid,
  normalize,
  nt_xent,
  pairwise_nt_xent,
  retrieval_accuracy,
  sup_con,
)
from synjax.losses.critic import club_upper, info_nce_lower
from synjax.losses.masked_view import infmasking_terms, masked_view_bound
from synjax.losses.reconstruction import masked_mse

__all__ = [
  "bernoulli_kl",
  "categorical_kl",
  "categorical_kl_of_logs",
  "clip_loss",
  "club_upper",
  "comm_terms",
  "dirichlet_kl",
  "gaussian_kl",
  "infmasking_terms",
  "info_nce_lower",
  "masked_mse",
  "masked_view_bound",
  "mean_of_valid",
  "normalize",
  "nt_xent",
  "pairwise_nt_xent",
  "retrieval_accuracy",
  "sup_con",
]
