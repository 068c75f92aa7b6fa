"""launch/slurm_sweep.sh: what it asks for; under a pretended sbatch, and (slow) under a real Slurm."""

import os
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.processes import ROOT, environment
from tests.slurm import cluster

SCRIPT = ROOT / "launch" / "slurm_sweep.sh"
OPTIONS = dict(re.findall(r"^#SBATCH --([\w-]+)(?:=(\S+))?", SCRIPT.read_text(), re.M))
# A pretended sbatch: it reads no #SBATCH line, and runs one task of an array with what Slurm sets for it.
SBATCH = """#!/bin/bash
export SLURM_ARRAY_TASK_ID=2 SLURM_ARRAY_TASK_COUNT=8 SLURM_SUBMIT_DIR=$PWD PATH=/usr/bin:/bin
cd / && exec bash "$@"
"""


def test_it_asks_for_cores_memory_and_a_signal_in_time():
  assert {"array", "cpus-per-task", "mem", "time", "requeue", "output", "open-mode"} <= {*OPTIONS}
  receiver, signal, seconds = re.fullmatch(r"(\w):(\w+)@(\d+)", OPTIONS["signal"]).groups()
  assert (receiver, signal) == ("B", "TERM") and int(seconds) >= 120
  text = SCRIPT.read_text()
  assert "sbatch --gpus=1 launch/slurm_sweep.sh" in text and "--gpus" not in OPTIONS


@pytest.mark.parametrize("active", ["VIRTUAL_ENV", "CONDA_PREFIX", ".venv"])
def test_the_signal_reaches_the_sweep_itself_in_the_environment_of_who_submitted(tmp_path, active):
  place = tmp_path / (".venv" if active == ".venv" else "elsewhere")
  (place / "bin").mkdir(parents=True)
  for path, text in {
    place / "bin/python": '#!/bin/sh\necho "$$ $PWD $*"\n', tmp_path / "sbatch": SBATCH
  }.items():  # fmt: skip
    path.write_text(text)
    path.chmod(0o755)
  known = {k: v for k, v in os.environ.items() if k not in ("VIRTUAL_ENV", "CONDA_PREFIX")}
  started = subprocess.Popen(
    [tmp_path / "sbatch", SCRIPT, "--workdir=w"], env={**known, active: str(place)},
    cwd=tmp_path, stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  said = started.communicate(timeout=60)[0].split()
  # The shell became the sweep: "B:" signals the batch shell alone.
  assert said == [
    str(started.pid),
    str(tmp_path),
    "-m",
    "launch.sweep",
    "--workdir=w",
    "--shard=2/8",
  ]


ROWS = """
def get_hyper(hyper):
  return hyper.product([hyper.sweep("optim.lr", [1e-4, 1e-2]), hyper.sweep("seed", [0, 1])])
"""


@pytest.fixture
def submit(tmp_path):
  """Submits the script to a real Slurm, with arguments of its own and of the sweep; returns the job."""
  (tmp_path / "data").mkdir()
  rng = np.random.default_rng(0)
  for split in ("train", "validation", "test"):
    label = rng.integers(0, 2, 64)
    np.savez(tmp_path / f"data/{split}.npz", x=rng.normal(size=(64, 4)), label=label)
  for name in ("configs", "launch", "synjax"):
    (tmp_path / name).symlink_to(ROOT / name)
  (tmp_path / "rows.py").write_text(ROWS)
  active = tmp_path / "active" / "bin"
  active.mkdir(parents=True)
  (active / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
  (active / "python").chmod(0o755)
  (tmp_path / "slurm").mkdir()
  with cluster(tmp_path / "slurm", cores=2) as variables:
    known = {**environment(), **variables, "VIRTUAL_ENV": str(active.parent)}

    def slurm(program, *arguments):
      done = subprocess.run(
        [program, *arguments], env=known, cwd=tmp_path, capture_output=True, text=True, timeout=900
      )
      assert done.returncode == 0 or "--wait" in arguments, done.stderr
      return done.stdout

    def submit(options, *flags):
      sweep = ["--config=configs/arrays.py:supervised,data", "--sweep=rows.py", *flags]
      return slurm("sbatch", "--parsable", *options, "launch/slurm_sweep.sh", *sweep).strip()

    submit.slurm, submit.folder = slurm, tmp_path
    yield submit


def wait_for(file, pattern, seconds=300):
  for _ in range(seconds):
    found = re.search(pattern, file.read_text()) if file.exists() else None
    if found:
      return found
    time.sleep(1)
  raise AssertionError(f"no {pattern} in {file}: {file.exists() and file.read_text()[-2000:]}")


@pytest.mark.slow
def test_a_real_slurm_runs_all_shares_and_a_time_limit_saves_what_goes_on(submit):
  folder, short = submit.folder, ("--mem=2G", "--cpus-per-task=1")
  job = submit(["--wait", "--array=0-1", *short], "--workdir=runs/a", "--config.total_epochs=2")
  for task in range(2):
    log = (folder / f"sweep_{job}_{task}.log").read_text()
    assert f"task {task} of 2 on " in log and f"{folder}/active/bin/python" in log
    assert "2 of 2 rows done, 0 failed" in log
  assert "4 of 4 rows done" in (folder / "runs/a/table.md").read_text()
  # Slurm may send the signal up to a minute early.
  limited = ["--array=0", *short, "--time=3", "--signal=B:TERM@60"]
  long = ("--workdir=runs/b", "--config.total_epochs=1000000")
  log = folder / f"sweep_{submit(limited, *long)}_0.log"
  (stopped,) = wait_for(log, r"stopped at step (\d+) of .*the same command continues").groups()
  again = submit(limited, *long)
  log = folder / f"sweep_{again}_0.log"
  (continued,) = wait_for(log, r"continuing at step (\d+) of").groups()
  assert int(stopped) == int(continued) > 0
  submit.slurm("scancel", again)
