"""What the fields of a config mean: durations, protocols, checks."""
