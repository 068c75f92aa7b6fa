"""Shared fixtures. Environment variables are set before jax is imported anywhere."""

import os
import pathlib

# 8 simulated devices for the tests of parallel code; NPROC enlarges the client's thread pool, without
# which simulated collectives can deadlock on a machine of few cores.
os.environ.setdefault("NPROC", "32")
os.environ["XLA_FLAGS"] = (
  os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
).strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import jax
import numpy as np
import pytest

jax.config.update(
  "jax_compilation_cache_dir",
  os.environ.get("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/synjax-tests")),
)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.fixture
def x64():
  """Runs a test in double precision."""
  with jax.enable_x64(True):
    yield


@pytest.fixture(scope="session")
def golden():
  """Opens tests/golden/NAME.npz as (arrays, meta)."""
  import json

  def open_golden(name):
    arrays = np.load(GOLDEN / f"{name}.npz")
    return arrays, json.loads(str(arrays["__meta__"])) if "__meta__" in arrays else {}

  return open_golden
