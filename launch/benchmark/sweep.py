"""The row about sweeps: stacked programs against one process a run."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from configs.sweeps import spurious_xor
from launch.benchmark.measure import Row
from synjax.sweeps.file import Hyper

_MINUTES = 8  # of all methods on 2 cores


def balancing_rows() -> Iterator[Row]:
  """The Spurious XOR curve with the balancing methods, as stacked programs, compilation included."""
  rows = spurious_xor.get_hyper(Hyper, spurious_xor.ALL)
  with tempfile.TemporaryDirectory() as folder:
    environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled"}
    command = [
      *(sys.executable, "-m", "launch.sweep", "--config=configs/xor.py:supervised,spurious"),
      *("--sweep=configs/sweeps/spurious_xor.py:all", f"--workdir={folder}/sweep"),
    ]
    start = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True)
    seconds = time.perf_counter() - start
  yield Row(
    f"Spurious XOR with all methods, {len(rows)} runs: stacked programs", f"{seconds:.0f} s", "",
    f"{seconds / (60 * _MINUTES):.2f} of the bound", f"at most {60 * _MINUTES} s",
    seconds <= 60 * _MINUTES,
  )  # fmt: skip


def sweep_rows() -> Iterator[Row]:
  """The Spurious XOR curve as stacked programs against one process a run, one of each arm measured."""
  base = [sys.executable, "-m"]
  sweep_file = "configs/sweeps/spurious_xor.py"
  with tempfile.TemporaryDirectory() as folder:

    def timed(name: str, *arguments: str) -> float:
      environment = {**os.environ, "JAX_COMPILATION_CACHE_DIR": f"{folder}/{name}-compiled"}
      start = time.perf_counter()
      subprocess.run([*base, *arguments], env=environment, check=True, capture_output=True)
      return time.perf_counter() - start

    alone = []
    for arm in spurious_xor.ARMS:
      fields = {k: v for k, v in arm.items() if k not in ("arm", "config")} | {"num_seeds": 1}
      flags_ = [f"--config.{field}={value}" for field, value in fields.items()]
      config = f"--config=configs/xor.py:{arm['config']}"
      workdir = f"--workdir={folder}/{arm['arm']}"
      alone.append(timed(arm["arm"], "launch.train", config, workdir, *flags_))
    stacked = timed(
      "stacked", "launch.sweep", "--config=configs/xor.py:supervised,spurious",
      f"--sweep={sweep_file}", f"--workdir={folder}/sweep",
    )  # fmt: skip
  runs = len(spurious_xor.STRENGTHS) * len(spurious_xor.SEEDS)
  separate = runs * sum(alone)
  yield Row(
    f"Spurious XOR, {runs * len(alone)} runs: stacked programs against one process each",
    f"{stacked:.0f} s", f"{separate:.0f} s: {runs} x one measured process of each arm",
    f"{separate / stacked:.1f}x faster", "10x; stacked at most 300 s",
    separate >= 10 * stacked and stacked <= 300,
  )  # fmt: skip
