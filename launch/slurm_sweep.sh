#!/bin/bash
# One sweep on several machines: sbatch launch/slurm_sweep.sh --config=... --sweep=... --workdir=...
# The workdir must be on a file system that all nodes see. Submitting the same command again continues
# where a time limit, a preemption or a failure stopped: finished rows are on disk and are skipped, an
# unfinished group goes on from the step at which it stopped (killed: from its newest checkpoint). Groups are
# split so that all tasks have an equal share: keep the array's size when continuing, or what was begun is
# begun anew; with another size, let all tasks of the old array end first.
#
# Options of sbatch before the script's name replace those below. On GPUs: sbatch --gpus=1 launch/slurm_sweep.sh ...
# (an option here would be refused by clusters without them).
#SBATCH --job-name=synjax-sweep
#SBATCH --array=0-7
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=2
#SBATCH --mem=8G
#SBATCH --time=04:00:00
#SBATCH --signal=B:TERM@180  # seconds before the limit: enough for a step, a validation and a save
#SBATCH --requeue
#SBATCH --output=sweep_%A_%a.log
#SBATCH --open-mode=append

set -euo pipefail
cd "${SLURM_SUBMIT_DIR:-.}"

# The environment that was active where sbatch was typed, also where nodes' login files set another PATH;
# else the checkout's own.
if [ -n "${VIRTUAL_ENV:-}" ]; then
  PATH="$VIRTUAL_ENV/bin:$PATH"
elif [ -n "${CONDA_PREFIX:-}" ]; then
  PATH="$CONDA_PREFIX/bin:$PATH"
elif [ -x .venv/bin/python ]; then
  PATH="$PWD/.venv/bin:$PATH"
fi

echo "task $SLURM_ARRAY_TASK_ID of $SLURM_ARRAY_TASK_COUNT on $(hostname), $(command -v python)," \
  "GPUs: ${CUDA_VISIBLE_DEVICES:-none}" >&2
# `exec`: the signal reaches Python itself, which finishes the step, saves and names the rows it was at.
# SLURM_ARRAY_TASK_COUNT counts the tasks of the whole array: number them from 0.
exec python -m launch.sweep "$@" --shard="${SLURM_ARRAY_TASK_ID}/${SLURM_ARRAY_TASK_COUNT}"
