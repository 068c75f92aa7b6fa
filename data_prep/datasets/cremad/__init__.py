"""CREMA-D, recordings and frames."""
