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
import numpy as np

from configs import cremad, mosi
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
  """Training from shards that stay on disk: time that a step waits for data, and decoding of pictures."""
  with tempfile.TemporaryDirectory() as folder:
    fixtures.make_fixture("mosi", folder, num_examples=640)
    with contextlib.redirect_stdout(io.StringIO()):
      convert.main(["mosi", f"--source={folder}", f"--data_dir={folder}/tfds"])
    config = mosi.get_config("infmasking")
    config.data.data_dir, config.data.resident_gb = f"{folder}/tfds", 0.0
    yield _waiting("MOSI", train.Run(config, pathlib.Path(folder) / "run").restore())
  with tempfile.TemporaryDirectory() as folder:
    fixtures.make_fixture("cremad", f"{folder}/source", num_examples=432)
    with contextlib.redirect_stdout(io.StringIO()):
      convert.convert(
        "cremad", f"{folder}/source", f"{folder}/tfds", split="fold1", audio="logspec"
      )
    config = cremad.get_config("supervised,fold1")
    config.data.data_dir, config.data.resident_gb = f"{folder}/tfds", 0.0
    config.data.resolution = 32
    for modality in config.model.modalities.values():
      modality.encoder.size = "tiny"
    run = train.Run(config, pathlib.Path(folder) / "run").restore()
    yield _decoding(run.stored.train)
    yield _waiting("CREMA-D's fixture", run)


def _waiting(name: str, run: train.Run) -> Row:
  """Measures the share of a step that waits for data; ends the run."""
  calls = max(1, 8 // run.steps_per_call)
  steps = calls * run.steps_per_call
  jax.block_until_ready(run.advance())
  waited, start = run.feed.seconds_waiting, time.perf_counter()
  for _ in range(calls):
    metrics = run.advance()
  jax.block_until_ready(metrics)
  seconds = time.perf_counter() - start
  waited = run.feed.seconds_waiting - waited
  run.checkpointer.close()
  share = waited / seconds
  return Row(
    f"{name} streamed from disk: waiting for data", f"{1e3 * waited / steps:.1f} ms a step",
    f"{1e3 * seconds / steps:.0f} ms a step", f"{100 * share:.1f} %", "below 5 %", share < 0.05,
  )  # fmt: skip


def _decoding(split) -> Row:
  """Measures how many frames a second one thread reads, decodes and resizes, beside spectrograms."""
  index = np.arange(min(128, split.num_examples))
  split.rows.read(index[:8])
  start = time.perf_counter()
  found = split.rows.read(index)
  seconds = time.perf_counter() - start
  frames = found["video"].shape[0] * found["video"].shape[1]
  return Row(
    "CREMA-D's fixture: frames decoded by one core", f"{frames / seconds:.0f} a second",
    f"{1e3 * seconds / len(index):.2f} ms a clip", "", "", True,
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
