"""Trains and evaluates one config: python -m launch.train --config=FILE:ARGUMENT --workdir=FOLDER.

Starting it again with the same workdir continues the run. Ends with results.json and report/ in
the workdir, and with embeddings.npz where representations are scored: a classifier has none.
"""

from absl import flags

from configs import defaults, presets, published
from launch import app, config_fields, config_flag
from synjax import report

_CONFIG = config_flag.ConfigFlag()
_WORKDIR = app.define_path("workdir", "Output folder; an unfinished run in it is continued.")
_COORDINATOR = flags.DEFINE_string("coordinator_address", None, "Several hosts: address of host 0.")
_PROCESSES = flags.DEFINE_integer(
  "num_processes", 1, "Several hosts: how many; 0 finds it out on TPU, Slurm and Open MPI."
)
_PROCESS = flags.DEFINE_integer("process_id", 0, "Several hosts: this host's number.")
_PRINT_CONFIG = flags.DEFINE_boolean(
  "print_config", False, "Print every field, who set it and what it means; train nothing."
)
_QUIET = app.define_quiet()
_LOG = app.define_log()
flags.mark_flag_as_required("config")
flags.register_multi_flags_validator(
  ["workdir", "print_config"],
  lambda given: given["print_config"] or given["workdir"] is not None,
  "Flag --workdir must have a value other than None.",
)


def main() -> None:
  """Runs the command."""
  from synjax import parallel, train  # a second, which --help does not wait for
  from synjax.config import checks, ignored_fields, values
  from synjax.training import trackers

  config = _CONFIG.value
  if _PRINT_CONFIG.value:
    values.check(config)  # as training does before it loads the data
    checks.check_start(config)
    ignored_fields.refuse(config, _CONFIG.untouched)
    fields = config_fields.describe(config, _CONFIG.filename, _CONFIG.overrides)
    print(config_fields.align(fields))
    return
  if _PROCESSES.value != 1:
    parallel.initialize_hosts(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value)
  ignored_fields.refuse(config, _CONFIG.untouched)
  trackers.require(_LOG.value)
  train.train_and_evaluate(config, _WORKDIR.value, defaults=defaults.of(config), log_to=_LOG.value)
  if parallel.is_first_host():
    path = report.write_report([_WORKDIR.value], None, published.ROWS, preset=presets.nearest)
    if not (_QUIET.value or "jsonl" in _LOG.value):  # else the output is for a program
      print(path.read_text())
      print(f"report: {path} and {path.with_name('report.html')}")


if __name__ == "__main__":
  app.run(
    main,
    "python -m launch.train --config=configs/trifeature.py:infmasking,small --workdir=runs/small",
  )
