"""One folder per family of datasets: its converter, its fixture, its checks."""
