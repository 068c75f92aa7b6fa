"""Commands: flags in, library call."""
