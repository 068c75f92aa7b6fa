"""Losses: pure functions on arrays. Nothing else from synjax is imported here."""

from synjax.losses.confidence import bernoulli_kl, categorical_kl, dirichlet_kl, gaussian_kl
from synjax.losses.contrastive import comm_terms, normalize, nt_xent, retrieval_accuracy
from synjax.losses.masked_view import infmasking_terms, masked_view_bound

__all__ = [
  "bernoulli_kl",
  "categorical_kl",
  "comm_terms",
  "dirichlet_kl",
  "gaussian_kl",
  "infmasking_terms",
  "masked_view_bound",
  "normalize",
  "nt_xent",
  "retrieval_accuracy",
]
