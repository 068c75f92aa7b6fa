"""Shared fixtures. Environment variables are set before jax is imported anywhere."""

import os
import pathlib

from tests import left_out, processes

# 8 simulated devices for the tests of parallel code; NPROC enlarges the client's thread pool, without
# which simulated collectives can deadlock on a machine of few cores.
os.environ.setdefault("NPROC", "32")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {processes.xla_flags(8)}".strip()
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as `launch` has it
# Compiled programs are kept between runs and shared with the processes that tests start.
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", os.path.expanduser("~/.cache/synjax-tests"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")

import jax
import numpy as np
import pytest

GOLDEN = pathlib.Path(__file__).parent / "golden"
# What takes longest, the longest first: begun last, one of these files would keep one worker busy alone.
LONGEST = (
  "examples_test.py",
  "train_test.py",
  "readme_test.py",
  "models/fusion_test.py",
  "data/picture_texts_test.py",
  "models/padded_test.py",
  "training/stream_training_test.py",
  "methods/base_test.py",
  "methods/contract_test.py",
  "library/model_test.py",
  "configs_test.py",
  "training/feature_cache_test.py",
  "data/array_runs_test.py",
  "sweeps/training_test.py",
  "workdir/stopping_test.py",
  "methods/reconstruction/mae_test.py",
  "training/frozen_params_test.py",
  "training/stacked_trials_test.py",
  "launch/commands_test.py",
)


def pytest_addoption(parser):
  parser.addoption(
    "--sample",
    type=int,
    default=0,
    help="run so many tests of every file, each with its first case; none of files that take longest",
  )


@pytest.hookimpl(tryfirst=True)  # before what is marked is left out
def pytest_collection_modifyitems(config, items):
  for item in items:
    if left_out.is_slow(item.nodeid):
      item.add_marker(pytest.mark.slow)
  rank = {f"tests/{name}": i for i, name in enumerate(LONGEST)}
  items.sort(key=lambda item: rank.get(item.nodeid.partition("::")[0], len(rank)))
  if count := config.getoption("sample"):
    kept = _sample(items, count)
    config.hook.pytest_deselected(items=list(set(items) - set(kept)))
    items[:] = kept


def _sample(items, count):
  first = {}
  for item in items:
    file, _, test = item.nodeid.partition("[")[0].partition("::")
    runs = item.get_closest_marker("slow") or item.get_closest_marker("whole_run")
    if not runs and file.removeprefix("tests/") not in LONGEST:
      first.setdefault(file, {}).setdefault(test, item)
  return [item for tests in first.values() for item in list(tests.values())[:count]]


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
