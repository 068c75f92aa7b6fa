"""Sweeps: which configs to run together, and what to make of the results."""
