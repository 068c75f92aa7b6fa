"""CLIP: modalities are aligned as they are encoded, without projections of their own."""

from synjax.methods.contrastive.cross import Cross


class CLIP(Cross):
  """CLIP (arXiv 2103.00020) as further training of encoders of one width; docs/spec/baselines.md 3.4.

  L = mean_{i<j} CLIP(x_i, x_j; s) of clean views with x_i the mean of a modality's real tokens, which are
  all `config.model.width` wide, and s as in `Cross`. The representation is their concatenation, not
  normalised. Differences from the published row: encoders are those of the config, and any number of
  modalities works.
  """

  head = "none"
  head_fields = ()
