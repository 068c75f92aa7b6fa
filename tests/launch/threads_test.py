"""Commands leave BLAS one thread, before NumPy is loaded, unless the user says otherwise."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("given", "expected"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "2"}, "2")])
def test_the_number_of_threads_is_set_before_numpy_is_loaded(given, expected):
  code = (
    "import os, sys\n"
    "class Finder:\n"
    "  def find_spec(self, name, path=None, target=None):\n"
    "    if name == 'numpy': print(os.environ.get('OPENBLAS_NUM_THREADS'), flush=True)\n"
    "sys.meta_path.insert(0, Finder())\n"
    "import launch, numpy\n"
  )
  plain = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}
  done = subprocess.run(
    [sys.executable, "-c", code], env={**plain, **given}, capture_output=True, text=True, check=True
  )
  assert done.stdout.splitlines()[0] == expected
