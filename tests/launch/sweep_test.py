"""The command of sweeps, with a trainer that only pretends."""

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
train.train_and_evaluate = lambda c, w, trials, log_to: pretend.Trainer()(c, w, trials)
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
