"""User-supplied files to TFDS shards: safe reading, inspection, conversion, and fixtures."""

import sys

from synjax.workdir import stopping

if sys.argv[0] == "-m":  # `python -m data_prep.convert`: before what takes seconds to import
  stopping.install("starts afresh")
