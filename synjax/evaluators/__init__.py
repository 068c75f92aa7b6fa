"""Evaluators: what a frozen representation or a classifier is worth."""
