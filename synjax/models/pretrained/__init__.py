"""Published towers from folders that a user has: `load`. Nothing is downloaded or unpickled."""

from synjax.models.pretrained.loading import Pretrained, describe, files, load

__all__ = ["Pretrained", "describe", "files", "load"]
