"""Control of SynIB: whole modalities corrupted."""

from ml_collections import ConfigDict

from synjax.data.pipeline import Dataset
from synjax.methods.supervised.synib import SynIB


class FullCorruption(SynIB):
  """Control of SynIB: a whole modality is replaced, c = 1, so that no mask chooses anything."""

  def __init__(self, config: ConfigDict, dataset: Dataset):
    if config.method.mask != "full":
      raise ValueError(f"config.method.mask: expected full, found {config.method.mask!r}")
    super().__init__(config, dataset)
