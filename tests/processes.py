"""The environment of the processes that tests start. Imports no jax."""

import os
import pathlib

ROOT = pathlib.Path(__file__).parents[1]
# Compiled quickly: most programs of tests run for less time than they take to compile.
QUICK = "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"


def xla_flags(devices: int) -> str:
  """Returns XLA_FLAGS of so many simulated devices."""
  return f"--xla_force_host_platform_device_count={devices} {QUICK}"


def environment(devices: int = 1, **variables: str) -> dict[str, str]:
  """Returns the environment of a process that sees so many devices and finds the repository."""
  return {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "XLA_FLAGS": xla_flags(devices),
    **variables,
  }
