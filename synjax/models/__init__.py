"""Neural networks in flax.linen: encoders, adapters, fusion and heads."""

from synjax.models.backbone import present_subsets
from synjax.models.classifier import Classifier, create_classifier
from synjax.models.fusion import FusionTransformer
from synjax.models.heads import ProjectionHead
from synjax.models.multimodal import MultimodalModel, create

__all__ = [
  "Classifier",
  "FusionTransformer",
  "MultimodalModel",
  "ProjectionHead",
  "create",
  "create_classifier",
  "present_subsets",
]
