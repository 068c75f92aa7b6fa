"""Experiment configurations, one file per dataset."""
