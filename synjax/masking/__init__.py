"""Which tokens masked views keep and which features counterfactuals replace, inside the compiled step."""

from synjax.masking.corrupt import (
  FILLS,
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
from synjax.masking.learned import learn_corrupt

__all__ = [
  "FILLS",
  "Moments",
  "fill",
  "gate",
  "init_moments",
  "is_uniform",
  "learn_corrupt",
  "num_kept",
  "sample_corrupt",
  "sample_keep",
  "share_of",
  "update_moments",
]
