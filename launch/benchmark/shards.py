"""Rows about shards: converting a pickle, and training from what stays on disk."""

import contextlib
import io
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import jax

from configs import mosi
from data_prep import convert, fixtures
from launch.benchmark.measure import Row
from synjax import train

_SOURCE_BYTES = 500e6
# The peak is read inside the process: what `wait4` reports includes the parent's memory at the fork.
_CONVERT = """
import pathlib, sys
from data_prep import convert
status = convert.main(sys.argv[1:])
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
print("peak", *[line.split()[1] for line in lines if line.startswith("VmHWM")])
sys.exit(status)
"""


def input_rows() -> Iterator[Row]:
  """Training on MOSI's shapes from shards that stay on disk: time that a step waits for data."""
  steps = 8
  with tempfile.TemporaryDirectory() as folder:
    fixtures.make_fixture("mosi", folder, num_examples=640)
    with contextlib.redirect_stdout(io.StringIO()):
      convert.main(["mosi", f"--source={folder}", f"--data_dir={folder}/tfds"])
    config = mosi.get_config("infmasking")
    config.data.data_dir, config.data.resident_gb = f"{folder}/tfds", 0.0
    run = train.Run(config, pathlib.Path(folder) / "run").restore()
    jax.block_until_ready(run.advance())
    waited, start = run.feed.seconds_waiting, time.perf_counter()
    for _ in range(steps // run.steps_per_call):
      metrics = run.advance()
    jax.block_until_ready(metrics)
    seconds = time.perf_counter() - start
    waited = run.feed.seconds_waiting - waited
    run.checkpointer.close()
  share = waited / seconds
  yield Row(
    "MOSI streamed from disk: waiting for data", f"{1e3 * waited / steps:.1f} ms a step",
    f"{1e3 * seconds / steps:.0f} ms a step", f"{100 * share:.1f} %", "below 5 %", share < 0.05,
  )  # fmt: skip


def conversion_rows() -> Iterator[Row]:
  """Converting a generated pickle in MOSI's layout: speed, and memory in sizes of the source."""
  with tempfile.TemporaryDirectory() as folder:
    pickled = _make_pickle(pathlib.Path(folder))
    size = pickled.stat().st_size
    command = [sys.executable, "-c", _CONVERT, "mosi"]
    start = time.perf_counter()
    done = subprocess.run(
      [*command, f"--source={pickled}", f"--data_dir={folder}/out"],
      check=True, capture_output=True, text=True,
    )  # fmt: skip
    seconds = time.perf_counter() - start
  peak = 1024 * int(done.stdout.split("peak")[-1])
  speed, memory = size / 1e6 / seconds, peak / size
  yield Row(
    f"conversion of a MOSI pickle of {size / 1e6:.0f} MB", f"{seconds:.1f} s, {peak / 1e6:.0f} MB peak",
    "", f"{speed:.0f} MB/s, {memory:.2f} x the source in memory", "50 MB/s; 2.2 x",
    speed >= 50 and memory <= 2.2,
  )  # fmt: skip


def _make_pickle(folder: pathlib.Path) -> pathlib.Path:
  """Writes a pickle of about `_SOURCE_BYTES` in MOSI's layout, sized by a small one."""
  sizes = {}
  for rows in (60, 120):
    sizes[rows] = _write_fixture(folder / str(rows), rows).stat().st_size
  rows = 60 + round((_SOURCE_BYTES - sizes[60]) / (sizes[120] - sizes[60]) * 60)
  return _write_fixture(folder / "source", rows)


def _write_fixture(folder: pathlib.Path, rows: int) -> pathlib.Path:
  fixtures.make_fixture("mosi", folder, num_examples=rows)
  (pickled,) = folder.glob("*.pkl")
  return pickled
