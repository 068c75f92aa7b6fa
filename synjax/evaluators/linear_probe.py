"""The linear probe by the name it is published under; see `estimators.linear`."""

from synjax.evaluators.estimators.linear import Split, evaluate

__all__ = ["Split", "evaluate"]
