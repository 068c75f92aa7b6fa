"""Commands: flags in, library call."""

import sys

from synjax.workdir import stopping

if sys.argv[0] == "-m":  # `python -m launch.train`: before jax is imported, which takes seconds
  stopping.install()
