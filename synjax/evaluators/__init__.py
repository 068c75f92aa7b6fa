"""Evaluators: what a frozen representation or a classifier is worth."""

from synjax.evaluators.representation import test, validate

__all__ = ["test", "validate"]
