"""Writes shards, and the parts of fixtures: pickles and features with planted structure."""
