"""Objectives that balance what modalities contribute; the rules they decide by."""

from synjax.methods.balancing_rules import (
  boosting_weights,
  jensen_shannon,
  kmeans_purity,
  ogm_coefficients,
  pareto_weights,
  reset_strength,
)

__all__ = [
  "boosting_weights",
  "jensen_shannon",
  "kmeans_purity",
  "ogm_coefficients",
  "pareto_weights",
  "reset_strength",
]
