"""What a run leaves on disk: file names, atomic writes, locks, comparison of configs. Imports no jax."""
