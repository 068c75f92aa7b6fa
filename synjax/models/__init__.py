"""Neural networks in flax.linen: encoders, adapters, fusion and heads."""
