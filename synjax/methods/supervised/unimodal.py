"""One modality alone."""

from ml_collections import ConfigDict
from typing_extensions import override

from synjax.data.pipeline import Dataset
from synjax.methods.base import named_modality
from synjax.methods.supervised.ensemble import Ensemble


class Unimodal(Ensemble):
  """One modality alone, an independent encoder and head: L = CE(y, q_um(x_m))."""

  def __init__(self, config: ConfigDict, dataset: Dataset):
    self._member = named_modality(config, dataset)
    super().__init__(config, dataset)

  @override
  def members(self) -> tuple[str, ...]:
    return (self._member,)
