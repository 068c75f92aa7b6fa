"""One folder per family of data sets: its converter, its fixture, its checks."""
