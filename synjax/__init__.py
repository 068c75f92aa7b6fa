"""synjax: synergy-aware multimodal representation learning in JAX."""
