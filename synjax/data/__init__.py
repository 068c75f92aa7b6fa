"""Datasets, their pipelines and their transforms."""
