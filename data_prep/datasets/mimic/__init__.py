"""MIMIC-III, as MultiBench publishes it."""
