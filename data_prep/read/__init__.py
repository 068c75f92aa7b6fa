"""Reads files that nobody vouches for: what they are, what they hold, without running any of it."""
