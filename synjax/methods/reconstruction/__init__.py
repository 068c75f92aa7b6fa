"""Objectives that reconstruct what a model was not shown, without labels."""
