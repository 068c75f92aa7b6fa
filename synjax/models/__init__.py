"""Neural networks in flax.linen: encoders, adapters, fusion and heads."""

from synjax.models.backbone import present_subsets
from synjax.models.classifier import Classifier, create_classifier
from synjax.models.fusion import FusionTransformer
from synjax.models.heads import LinearHead, ProjectionHead
from synjax.models.multimodal import MultimodalModel, create
from synjax.models.separate import SeparateModel, create_separate

__all__ = [
  "Classifier",
  "FusionTransformer",
  "LinearHead",
  "MultimodalModel",
  "ProjectionHead",
  "SeparateModel",
  "create",
  "create_classifier",
  "create_separate",
  "present_subsets",
]
