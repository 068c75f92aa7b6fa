"""Training objectives, one published method per file."""

from synjax.methods.base import Info, Method, Out, Phase
from synjax.methods.comm import CoMM
from synjax.methods.controls import ConfidencePenalty, FullCorruption, MaskedAugmentation
from synjax.methods.infmasking import InfMasking
from synjax.methods.supervised import Ensemble, Supervised, Unimodal
from synjax.methods.synib import SynIB
from synjax.models.encoders import ENCODERS
from synjax.models.heads import ProjectionHead

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
      not leave out, a batch too small for its networks, or what the method itself refuses.
  """
  method = find(config)(config, dataset)
  if config.keep_partial_batch and not method.ignores_filler:
    raise ValueError(
      f"config.keep_partial_batch: {config.method.name} compares the examples of a batch, filler"
      " would count: expected False, found True"
    )
  _check_statistics(config, method)
  return method


def _check_statistics(config, method: Method) -> None:
  """Refuses a batch of one example where networks normalise by the variance over examples."""
  if config.get("batch_size", 2) >= 2:
    return
  encoders = [config.model.modalities[m].encoder.name for m in method.dataset.modalities]
  mixing = [name for name in encoders if getattr(ENCODERS[name], "mixes_examples", False)]
  head = getattr(getattr(method, "model", None), "head", None)
  mixing += ["the projection head"] * isinstance(head, ProjectionHead)
  if mixing:
    raise ValueError(
      f"config.batch_size: {mixing[0]} normalises by the batch: expected at least 2, found"
      f" {config.batch_size}"
    )


def find(config) -> type[Method]:
  """Returns the class of the method named in the config; ValueError lists the known ones."""
  name = config.method.name
  if name not in METHODS:
    raise ValueError(f"config.method.name: expected one of {sorted(METHODS)}, found {name!r}")
  return METHODS[name]


__all__ = ["METHODS", "CoMM", "InfMasking", "Info", "Method", "Out", "Phase", "create", "find"]
