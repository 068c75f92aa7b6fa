"""Measures speed and memory, one file a group of rows: python -m launch.benchmark."""
