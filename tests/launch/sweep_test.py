"""The command of sweeps, with a trainer that only pretends."""

import os
import re
import subprocess
import sys

from tests.sweeps.pretend import ROOT, lines

COMMAND = """
import sys
sys.path.insert(0, {root!r})
from absl import flags
from synjax import train
from synjax.sweeps import inputs as sweep_inputs
from tests.sweeps import pretend
train.traced_fields = lambda config: pretend.TRACED
sweep_inputs.Inputs.__call__ = lambda self, config: dict()
train.train_and_evaluate = lambda c, w, trials: pretend.Trainer()(c, w, trials)
from launch import app, sweep

def main():
  sweep.main()
  flags.FLAGS.dry_run, flags.FLAGS.shard = True, "1/2"
  sweep.main()
  flags.FLAGS.shard = "2/2"
  sweep.main()

app.run(main)
"""


def test_the_command_runs_reports_lists_and_refuses(tmp_path):
  (tmp_path / "config.py").write_text(
    "from tests.sweeps.pretend import make_config as get_config\n"
  )
  (tmp_path / "rows.py").write_text(
    "from tests.sweeps import pretend\n"
    "def get_hyper(hyper):\n  return pretend.strengths()\n"
    "def get_report():\n  return {'metrics': {'test/accuracy': 'accuracy'}}\n"
  )
  names = [f"--config={tmp_path / 'config.py'}", f"--sweep={tmp_path / 'rows.py'}"]
  names += [f"--workdir={tmp_path / 'run'}", "--config.optim.steps=5"]
  done = subprocess.run(
    [sys.executable, "-c", COMMAND.format(root=str(ROOT)), *names],
    capture_output=True, text=True, cwd=ROOT, timeout=300,
  )  # fmt: skip
  assert "18 of 18 rows done" in (tmp_path / "run" / "table.md").read_text(), done.stderr
  assert lines(tmp_path / "run")[0]["config"]["optim"]["steps"] == 5
  assert done.stdout.count("| done |") == 9  # the shard of the listing
  assert done.returncode == 1
  assert "--shard: expected i/n" in done.stderr


def test_on_slurm_the_signal_before_the_limit_reaches_the_sweep_itself(tmp_path):
  script = ROOT / "launch" / "slurm_sweep.sh"
  (signal,) = re.findall(r"^#SBATCH --signal=B:(\w+)@(\d+)", script.read_text(), re.M)
  assert signal[0] == "TERM" and int(signal[1]) >= 120  # seconds before the time limit
  (tmp_path / "python").write_text('#!/bin/sh\necho "$$ $*"\n')
  (tmp_path / "python").chmod(0o755)
  task = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "8"}
  path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
  started = subprocess.Popen(
    ["bash", script, "--workdir=w"], env={**os.environ, **task, "PATH": path},
    cwd=tmp_path, stdout=subprocess.PIPE, text=True,
  )  # fmt: skip
  said = started.communicate(timeout=60)[0].split()
  # The shell became the sweep: "B:" signals the batch shell alone.
  assert said == [str(started.pid), "-m", "launch.sweep", "--workdir=w", "--shard=2/8"]
