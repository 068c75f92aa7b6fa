"""Losses: pure functions on arrays. Nothing else from synjax is imported here."""
