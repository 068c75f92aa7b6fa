"""Training objectives, one published method per file."""

from synjax.methods.base import Info, Method, Out, Phase
from synjax.methods.comm import CoMM
from synjax.methods.controls import ConfidencePenalty, FullCorruption, MaskedAugmentation
from synjax.methods.infmasking import InfMasking
from synjax.methods.supervised import Ensemble, Supervised, Unimodal
from synjax.methods.synib import SynIB

METHODS = {
  "comm": CoMM,
  "confidence_penalty": ConfidencePenalty,
  "ensemble": Ensemble,
  "full_corruption": FullCorruption,
  "infmasking": InfMasking,
  "masked_augmentation": MaskedAugmentation,
  "supervised": Supervised,
  "synib": SynIB,
  "unimodal": Unimodal,
}


def create(config, dataset) -> Method:
  """Creates the method named in the config.

  Args:
    config: the run's config; `config.method.name` picks the class.
    dataset: the `Dataset` it will be trained on.

  Returns:
    The method.

  Raises:
    ValueError: unknown name; the message lists the known ones. Filler examples that the method would
      not leave out, or what the method itself refuses.
  """
  method = find(config)(config, dataset)
  if config.keep_partial_batch and not method.ignores_filler:
    raise ValueError(
      f"config.keep_partial_batch: {config.method.name} compares the examples of a batch, filler"
      " would count: expected False, found True"
    )
  return method


def find(config) -> type[Method]:
  """Returns the class of the method named in the config; ValueError lists the known ones."""
  name = config.method.name
  if name not in METHODS:
    raise ValueError(f"config.method.name: expected one of {sorted(METHODS)}, found {name!r}")
  return METHODS[name]


__all__ = ["METHODS", "CoMM", "InfMasking", "Info", "Method", "Out", "Phase", "create", "find"]
