"""Trains and evaluates one config: python -m launch.train --config=FILE:ARGUMENT --workdir=FOLDER.

Starting it again with the same workdir continues the run. Ends with results.json, embeddings.npz and
report/ in the workdir.
"""

from absl import flags
from ml_collections import config_flags

from configs import published
from launch import app
from synjax import parallel, report, train

_CONFIG = config_flags.DEFINE_config_file("config", lock_config=True)
_WORKDIR = flags.DEFINE_string(
  "workdir", None, "Output folder; an unfinished run in it is continued."
)
_COORDINATOR = flags.DEFINE_string("coordinator_address", None, "Several hosts: address of host 0.")
_PROCESSES = flags.DEFINE_integer(
  "num_processes", 1, "Several hosts: how many; 0 finds it out on TPU, Slurm and Open MPI."
)
_PROCESS = flags.DEFINE_integer("process_id", 0, "Several hosts: this host's number.")
flags.mark_flags_as_required(["config", "workdir"])


def main() -> None:
  """Runs the command."""
  if _PROCESSES.value != 1:
    parallel.initialize_hosts(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  train.train_and_evaluate(_CONFIG.value, _WORKDIR.value)
  if parallel.is_first_host():
    path = report.write_report([_WORKDIR.value], None, published.ROWS)
    print(path.read_text())
    print(f"report: {path}")


if __name__ == "__main__":
  app.run(main)
