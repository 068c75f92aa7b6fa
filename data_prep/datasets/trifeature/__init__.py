"""Trifeature, rendered or from a folder of pictures."""
