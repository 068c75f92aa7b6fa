"""Objectives that align views of the same example, without labels."""
