"""Encoders: one family of networks per file."""
