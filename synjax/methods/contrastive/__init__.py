"""Objectives that align views, modalities or examples of a class, scored by their representation."""
