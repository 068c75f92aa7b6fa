"""Solvers and scores on arrays: what evaluators are made of. They know no dataset and no method."""
