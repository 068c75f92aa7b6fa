"""Training objectives, one published method per file."""
