"""Which tokens masked views keep and which features counterfactuals replace, inside the compiled step."""

from synjax.masking.agreement import auroc, overlap, split_half
from synjax.masking.corrupt import (
  FILLS,
  Basis,
  Moments,
  fill,
  gate,
  init_moments,
  is_uniform,
  sample_corrupt,
  share_of,
  update_moments,
)
from synjax.masking.keep import num_kept, sample_keep
from synjax.masking.learned import CORRUPTS, GATES, corrupt_of, flagged_share, learn_flags

__all__ = [
  "Basis",
  "CORRUPTS",
  "FILLS",
  "GATES",
  "Moments",
  "auroc",
  "corrupt_of",
  "fill",
  "flagged_share",
  "gate",
  "init_moments",
  "is_uniform",
  "learn_flags",
  "num_kept",
  "overlap",
  "sample_corrupt",
  "sample_keep",
  "share_of",
  "split_half",
  "update_moments",
]
