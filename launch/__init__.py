"""Commands: flags in, library call."""

import os
import sys

# Before NumPy is loaded: its threads wait in a loop, so that the small systems of a probe's Newton steps
# take 18 s of processor time instead of 0.4 s where other processes share the cores.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# XLA's alarms of slow compilations, printed as errors; what fails is raised in Python too.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from synjax.workdir import stopping

if sys.argv[0] == "-m":  # `python -m launch.train`: before jax is imported, which takes seconds
  stopping.install()
