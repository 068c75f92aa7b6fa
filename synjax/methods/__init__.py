"""Training objectives, one published method per file, in a folder for each family."""

from synjax.methods.base import Info, Method, Out, Phase
from synjax.methods.registry import METHODS, create, find

__all__ = ["METHODS", "Info", "Method", "Out", "Phase", "create", "find"]
