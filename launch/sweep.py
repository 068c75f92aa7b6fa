"""Runs a sweep: python -m launch.sweep --config=FILE[:ARGUMENT] --sweep=FILE[:ARGUMENT] --workdir=FOLDER.

A sweep file that names its configs itself, such as `configs/sweeps/table.py:DATASET`, needs no --config.

Starting it again continues: rows that are done are skipped, failed ones are tried again. Other
machines take a share with --shard=i/n and the same workdir (launch/slurm_sweep.sh). Ends with
rows*.jsonl, rows.csv, table.md, report.html and PNG plots in the workdir; --report_only makes them
at any time. `--config.<field>=<value>` holds for every row that does not set the field itself.
"""

import functools
from collections.abc import Mapping
from typing import Any

from absl import flags

from configs import defaults
from launch import app, config_flag
from synjax import train
from synjax.report import sweeps
from synjax.report.sweeps.description import store
from synjax.sweeps import file as sweep_file
from synjax.sweeps import inputs as sweep_inputs
from synjax.sweeps import journal as sweep_journal
from synjax.sweeps import judges, plan
from synjax.sweeps import run as sweep_run
from synjax.training import trackers

_CONFIG = config_flag.ConfigFlag()
_SWEEP = flags.DEFINE_string("sweep", None, "Sweep file, in configs/sweeps; FILE or FILE:ARGUMENT.")
_WORKDIR = app.define_path("workdir", "Output folder of the sweep.")
_SHARD = flags.DEFINE_string("shard", "0/1", "i/n: this process trains share i of n, from 0.")
_ONLY = flags.DEFINE_enum("only", "all", list(sweep_run.ONLY), "Which of the rows to train.")
_RERUN = flags.DEFINE_list("rerun", [], "Ids of rows to train again, and no others.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "List the rows and stop.")
_REPORT_ONLY = flags.DEFINE_bool("report_only", False, "Write table and plots and stop.")
_MAX_STACK = flags.DEFINE_integer(
  "max_stack", None, "Most rows in one program; unlimited if unset."
)
_KEEP_WORKDIRS = flags.DEFINE_bool("keep_workdirs", False, "Keep the workdirs of finished groups.")
_QUIET = app.define_quiet()
_LOG = app.define_log()
flags.mark_flags_as_required(["config", "sweep", "workdir"])


def main() -> None:
  """Runs the command; fails when rows of this process failed."""
  trackers.require(_LOG.value)
  overrides, description = sweep_file.load(_SWEEP.value)
  failed = 0 if _REPORT_ONLY.value else _run(overrides, description)
  if _DRY_RUN.value:
    return
  path = sweeps.write_sweep_report(_WORKDIR.value, description)
  if not (_QUIET.value or "jsonl" in _LOG.value):  # else the output is for a program
    print(path.read_text())
    print(f"report: {path} and {path.with_name('report.html')}")
  if failed:
    raise ValueError(f"{failed} rows failed, see the end of {path}; the same command retries them")


def _run(overrides: list[sweep_file.Overrides], description: Mapping[str, Any]) -> int:
  """Lists or trains this process' rows; returns how many failed."""
  rows = plan.expand(
    sweep_file.config_maker(_CONFIG.filename, _CONFIG.overrides),
    overrides,
    traced=train.traced_fields,
    inspect=sweep_inputs.Inputs(),
    untouched=sweep_file.config_maker(_CONFIG.filename, {}),
  )
  rows = judges.attach(rows)
  index, count = plan.parse_shard(_SHARD.value)
  groups = plan.shard(plan.group(rows, _MAX_STACK.value), index, count)
  if _DRY_RUN.value:
    print(sweeps.list_rows(groups, _WORKDIR.value))
    return 0
  journal = sweep_journal.Journal(_WORKDIR.value, index, count)
  with journal.hold():
    journal.declare(rows, defaults.of)
    store(journal.folder, description)  # launch.report shows the sweep while it runs
    end = sweep_run.run(
      groups,
      journal,
      functools.partial(train.train_and_evaluate, log_to=_LOG.value),
      only=_ONLY.value,
      rerun_ids=_RERUN.value,
      keep_workdirs=_KEEP_WORKDIRS.value,
    )
  return end.failed


if __name__ == "__main__":
  app.run(
    main,
    "python -m launch.sweep --config=configs/xor.py:supervised,spurious"
    " --sweep=configs/sweeps/spurious_xor.py --workdir=runs/spurious_xor",
    config_flag.of_the_sweep_file,
  )
