"""Commands leave BLAS one thread and XLA silent before both are loaded, unless the user says so."""

import os
import subprocess
import sys

import pytest

NAMES = ("OPENBLAS_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL")


@pytest.mark.parametrize(
  ("given", "expected"),
  [({}, "1 3"), ({"OPENBLAS_NUM_THREADS": "2", "TF_CPP_MIN_LOG_LEVEL": "0"}, "2 0")],
)
def test_threads_and_alarms_are_set_before_numpy_is_loaded(given, expected):
  code = (
    "import os, sys\n"
    "NAMES = ('OPENBLAS_NUM_THREADS', 'TF_CPP_MIN_LOG_LEVEL')\n"
    "class Finder:\n"
    "  def find_spec(self, name, path=None, target=None):\n"
    "    if name == 'numpy': print(*map(os.environ.get, NAMES), flush=True)\n"
    "sys.meta_path.insert(0, Finder())\n"
    "import launch, numpy\n"
  )
  plain = {k: v for k, v in os.environ.items() if k not in NAMES}
  done = subprocess.run(
    [sys.executable, "-c", code], env={**plain, **given}, capture_output=True, text=True, check=True
  )
  assert done.stdout.splitlines()[0] == expected
