"""Kills, full disks, damaged checkpoints, two at once: does a run still end as undisturbed, bit for bit?

Slow, run by hand from the root of a checkout: python -m tests.faults [--scale=2] [--seed=1]
Trains a small run of configs/arrays.py again and again, disturbs it at random moments, starts the same
command until it ends, and compares scores, metrics.jsonl, embeddings.npz and the checksums of every array
of the last checkpoint with those of an undisturbed run. The disk is a small tmpfs; mounting needs root.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import random
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np

# 8 steps an epoch: checkpoints, validations and log rows seldom coincide, and calls end between them.
FLAGS = [
  f"--config.{field}={value}"
  for field, value in {
    "total_epochs": 8, "eval_epochs": 2, "checkpoint_epochs": 1.25, "log_epochs": 0.875,
    "batch_size": 16, "eval_batch_size": 16, "steps_per_call": 3, "num_devices": 1,
    "model.width": 16, "model.num_heads": 2, "model.head_hidden": 16, "model.head_features": 8,
  }.items()
]  # fmt: skip
REFUSED = "is in progress: pid"


def write_data(folder: pathlib.Path) -> None:
  """Writes a sequence, a table, and a label that needs both."""
  rng = np.random.default_rng(0)
  folder.mkdir()
  for split, count in (("train", 128), ("validation", 32), ("test", 32)):
    series, table = rng.normal(size=(count, 6, 3)), rng.normal(size=(count, 4))
    label = (series[:, :, 0].mean(1) * table[:, 0] > 0).astype(int)
    np.savez(folder / f"{split}.npz", sensor=series, table=table, label=label)


@dataclasses.dataclass
class Process:
  """A command in a process of its own; everything it says goes to a file."""

  pid: int
  log: pathlib.Path

  def wait(self, timeout: float = 300) -> int:
    """Returns its exit status, minus the number of the signal that killed it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
      pid, status = os.waitpid(self.pid, os.WNOHANG)
      if pid:
        return os.waitstatus_to_exitcode(status)
      time.sleep(0.02)
    os.kill(self.pid, signal.SIGKILL)
    os.waitpid(self.pid, 0)
    raise TimeoutError(f"no end after {timeout} s: {self.said[-500:]}")

  @property
  def said(self) -> str:
    """What it has written so far."""
    return self.log.read_text(errors="replace")


class Faults:
  """The trials; every one gets a fresh workdir and says whether the run survived."""

  def __init__(self, folder: pathlib.Path, seed: int):
    """Prepares data and the undisturbed run."""
    self.folder, self.random, self.count = folder, random.Random(seed), 0
    write_data(folder / "data")
    self.reference = folder / "reference"
    process = self.train(self.reference)
    assert process.wait() == 0, process.said  # this one also fills the cache of compiled programs
    started = time.monotonic()
    assert self.train(self.workdir()).wait() == 0
    self.seconds = time.monotonic() - started

  def workdir(self) -> pathlib.Path:
    """Returns a folder that does not exist yet."""
    self.count += 1
    return self.folder / f"run{self.count}"

  def start(self, module: str, *flags: str) -> Process:
    """Starts `python -m module flags` without importing jax again: it is forked from here."""
    log = self.folder / f"log{time.monotonic_ns()}"
    if pid := os.fork():
      return Process(pid, log)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.argv = [module, *flags]
    status = 0
    try:
      runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
      status = end.code if isinstance(end.code, int) else int(bool(end.code))
    except BaseException:
      sys.excepthook(*sys.exc_info())
      status = 70
    finally:
      sys.stdout.flush()
      os._exit(status or 0)

  def train(self, workdir: pathlib.Path) -> Process:
    """Starts or continues the run of a workdir."""
    config = f"--config=configs/arrays.py:comm,{self.folder / 'data'}"
    return self.start("launch.train", config, f"--workdir={workdir}", *FLAGS)

  def finish(self, workdir: pathlib.Path) -> bool:
    """Starts the run once more, to its end; says whether it is the undisturbed one bit for bit."""
    process = self.train(workdir)
    if process.wait() != 0 or "Traceback" in process.said:
      return _report(process.said)
    return self.same(workdir)

  def same(self, workdir: pathlib.Path) -> bool:
    """Says whether a finished run is the undisturbed one."""
    found, expected = contents(workdir), contents(self.reference)
    different = [name for name in expected if found[name] != expected[name]]
    return not different or _report(f"{workdir}: other {different}")

  def moment(self) -> None:
    """Waits for a random part of the time that an undisturbed run takes."""
    time.sleep(self.random.uniform(0, 1.1 * self.seconds))

  def killed(self, numbers: tuple[int, ...], times: int = 2) -> bool:
    """Sends signals at random moments, then lets the run end."""
    workdir = self.workdir()
    for _ in range(times):
      number, process = self.random.choice(numbers), self.train(workdir)
      self.moment()
      with contextlib.suppress(ProcessLookupError):
        os.kill(process.pid, number)
      status = process.wait()
      fine = (0, -number) if number == signal.SIGKILL else (0, 128 + number)
      if status not in fine or "Traceback" in process.said:
        return _report(f"exit status {status}: {process.said}")
    return self.finish(workdir)

  def full(self) -> bool:
    """Lets a disk fill up during the run, makes room, and lets the run end."""
    disk = self.folder / f"disk{time.monotonic_ns()}"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk], check=True)
    try:
      left = self.random.choice([1, 200_000, self.random.randrange(4_000_000)])
      (disk / "ballast").write_bytes(bytes(16 * 2**20 - left))
      process = self.train(disk / "run")
      if process.wait() not in (0, 1) or "Traceback" in process.said:
        return _report(process.said)
      (disk / "ballast").unlink()
      return self.finish(disk / "run")
    finally:
      subprocess.run(["umount", disk], check=True)

  def damaged(self, damage) -> bool:
    """Stops a run, damages its newest checkpoint, and lets it end."""
    workdir = self.workdir()
    process = self.train(workdir)
    while len(steps(workdir)) < 2:
      time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)
    process.wait()
    damage(workdir / "checkpoints" / str(steps(workdir)[-1]), self.random)
    (workdir / "results.json").unlink(missing_ok=True)
    return self.finish(workdir)

  def two(self) -> bool:
    """Starts the same command twice."""
    workdir = self.workdir()
    first = self.train(workdir)
    self.moment()
    second = self.train(workdir)
    statuses = sorted([first.wait(), second.wait()])
    if statuses == [0, 1] and (REFUSED in first.said or REFUSED in second.said):
      return self.same(workdir)
    return (statuses == [0, 0] and self.same(workdir)) or _report(first.said + second.said)

  def scored(self) -> bool:
    """Scores the newest checkpoint while the run goes on."""
    workdir = self.workdir()
    process = self.train(workdir)
    while not steps(workdir):
      time.sleep(0.02)
    scoring = self.start("launch.evaluate", f"--workdir={workdir}")
    if scoring.wait() != 0:
      return _report(scoring.said)
    return process.wait() == 0 and self.same(workdir)


def steps(workdir: pathlib.Path) -> list[int]:
  """Returns the steps of the checkpoints of a workdir."""
  folder = workdir / "checkpoints"
  return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def contents(workdir: pathlib.Path) -> dict[str, object]:
  """Returns what must not depend on a disturbance; arrays of the checkpoint by their checksums."""
  newest = workdir / "checkpoints" / str(steps(workdir)[-1])
  with np.load(workdir / "embeddings.npz") as embeddings:
    arrays = {name: embeddings[name].tobytes() for name in embeddings}
  return {
    "scores": json.loads((workdir / "results.json").read_text())["rows"],
    "metrics": (workdir / "metrics.jsonl").read_text(),
    "step": newest.name,
    "state": (newest / "checksum" / "metadata").read_text(),
    "embeddings": arrays,
  }


def _report(what: str) -> bool:
  sys.stderr.write(f"LOST: {what[-1500:]}\n")
  return False


def _files(checkpoint: pathlib.Path) -> list[pathlib.Path]:
  return sorted(f for f in checkpoint.rglob("*") if f.is_file() and "/d/" in str(f))


def truncate(checkpoint: pathlib.Path, rng: random.Random) -> None:
  """Cuts a file of arrays at a random place."""
  file = max(_files(checkpoint), key=lambda f: f.stat().st_size)
  os.truncate(file, rng.randrange(file.stat().st_size))


def flip(checkpoint: pathlib.Path, rng: random.Random) -> None:
  """Changes one bit of a file of arrays."""
  file = max(_files(checkpoint), key=lambda f: f.stat().st_size)
  content = bytearray(file.read_bytes())
  content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
  file.write_bytes(content)


def empty(checkpoint: pathlib.Path, rng: random.Random) -> None:
  """Leaves only the names of the files, as a power cut does."""
  del rng
  for file in checkpoint.rglob("*"):
    if file.is_file():
      os.truncate(file, 0)


def print_line(text: str) -> None:
  """Prints at once: the table takes minutes."""
  sys.stdout.write(f"{text}\n")
  sys.stdout.flush()


def main() -> None:
  """Runs every kind of trial and prints the table."""
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument("--scale", type=float, default=1, help="times as many trials of each kind")
  parser.add_argument("--seed", type=int, default=0, help="of the moments and the damage")
  parser.add_argument("--only", default="", help="kinds whose names contain this")
  options = parser.parse_args()
  # Here and not in every process that is forked. Importing touches no device.
  import launch.app  # noqa: F401
  import synjax.evaluators.embeddings
  import synjax.report
  import synjax.train  # noqa: F401

  folder = pathlib.Path(tempfile.mkdtemp(prefix="synjax_faults_"))
  try:
    faults = Faults(folder, options.seed)
    kinds = {
      "SIGKILL, twice a run": (6, functools.partial(faults.killed, (signal.SIGKILL,))),
      "SIGTERM or SIGINT, twice": (
        6,
        functools.partial(faults.killed, (signal.SIGTERM, signal.SIGINT)),
      ),
      "any of the three, 4 times": (
        3,
        functools.partial(faults.killed, (signal.SIGKILL, signal.SIGTERM, signal.SIGINT), 4),
      ),
      "disk full": (5, faults.full),
      "newest checkpoint truncated": (3, functools.partial(faults.damaged, truncate)),
      "newest checkpoint, one bit": (3, functools.partial(faults.damaged, flip)),
      "newest checkpoint emptied": (2, functools.partial(faults.damaged, empty)),
      "the same command twice": (3, faults.two),
      "launch.evaluate meanwhile": (2, faults.scored),
    }
    print_line("| fault | tried | survived | lost |\n|---|---|---|---|")
    for name, (count, trial) in kinds.items():
      if options.only in name:
        outcomes = [trial() for _ in range(max(1, round(options.scale * count)))]
        lost = outcomes.count(False)
        print_line(f"| {name} | {len(outcomes)} | {sum(outcomes)} | {lost} |")
  finally:
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
  main()
