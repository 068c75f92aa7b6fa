"""Scores a trained run again: python -m launch.evaluate --workdir=FOLDER [--which=best|last].

Scores the checkpoint in the workdir, prints the scores, and writes `evaluation.json` and, of probed runs,
the representations of all splits as `embeddings.npz`. With --unimodal=FOLDER, a run of `ensemble` on the
same data and seeds, also the synergy subset: the test examples that every unimodal model gets wrong. Its
models are selected together, by the ensemble's score; with --unimodal=FOLDER,FOLDER,... of runs of
`unimodal`, one a modality, each is selected by its own. With --subsets, of probed runs, also what every
subset of the modalities is worth, as scores and `subsets.png`.
"""

import contextlib
import logging
import pathlib
import shlex
import sys

from absl import flags
from ml_collections import ConfigDict

from configs import defaults
from launch import app
from synjax import evaluators, train
from synjax.evaluators import evaluation, export, representation
from synjax.report.subset_plots import plot_subsets
from synjax.workdir import evaluation as evaluation_file
from synjax.workdir import files, identity, lock

logger = logging.getLogger("synjax")

_WORKDIR = app.define_path("workdir", "Folder of a run of launch.train.")
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which parameters to score.")
_DATA_DIR = app.define_path(
  "data_dir", "Where the data are now; default: where they were at training."
)
_UNIMODAL = flags.DEFINE_list(
  "unimodal", None, "Folder of a run of ensemble, or one of unimodal for each modality."
)
_SUBSETS = flags.DEFINE_boolean("subsets", False, "Score every subset of the modalities.")
flags.mark_flag_as_required("workdir")


def main() -> None:
  """Runs the command."""
  path = pathlib.Path(_WORKDIR.value)
  with contextlib.ExitStack() as stack:
    alone = True
    try:
      stack.enter_context(lock.hold(path / lock.FILE, "an evaluation"))
    except lock.InUse as error:
      logger.warning("%s. Meanwhile its newest checkpoint is scored", error)
      alone = False
    _evaluate(path, alone)


def _evaluate(path: pathlib.Path, alone: bool) -> None:
  """Scores the run and writes what it finds; embeddings.npz, which a run writes too, only if `alone`."""
  run = _load("--workdir", _WORKDIR.value)
  # First of all: a run that has no such scores is refused before anything is computed.
  subsets = _test_subsets(run) if _SUBSETS.value else {}
  unimodal, described = _test_unimodal(run) if _UNIMODAL.value else ({}, None)
  found = run.test(_WHICH.value) | subsets | unimodal
  command = shlex.join(["python", "-m", "launch.evaluate", *sys.argv[1:]])
  content = evaluation.build(run, _WHICH.value, found, described, command)
  evaluation_file.write(path, content)
  if subsets:
    chance = evaluators.chance(run.config, run.dataset)
    title = f"Test split by modalities: {run.config.method.name}, {run.dataset.name}"
    plot_subsets(subsets, chance=chance, title=title).savefig(path / "subsets.png")
    print(f"plot: {path / 'subsets.png'}")
  for name, by_seed in content["scores"].items():
    print(f"{name:50s} " + "  ".join(f"seed {seed}: {v:.4f}" for seed, v in by_seed.items()))
  if "representation" in run.config.evaluators:
    splits = ("probe", "val", "test")
    if alone:
      print(f"embeddings: {export.write_embeddings(path, run, _WHICH.value, splits)}")
    else:
      print("embeddings: left to the run in progress")
  run.checkpointer.close()


def _test_subsets(run: train.Run):
  return representation.test_subsets(run.config, run.dataset, run.frozen(_WHICH.value))


def _test_unimodal(run: train.Run):
  others = [_load("--unimodal", files.resolve(folder)) for folder in _UNIMODAL.value]
  found = evaluation.synergy_subset(run, others, _WHICH.value)
  for other in others:
    other.checkpointer.close()
  return found


def _load(flag: str, workdir: str | pathlib.Path) -> train.Run:
  """Restores the run of a workdir."""
  path = pathlib.Path(workdir)
  file = path / files.CONFIG
  if not file.exists():
    raise ValueError(f"{flag}: expected the folder of a run, found no {file}")
  config = identity.read_json(file, "config of a run", identity.WITHOUT_CONFIG)
  trials = config.pop("trials", None)
  config = ConfigDict(identity.fill(config, defaults.of(config)))
  if _DATA_DIR.value:
    if "data_dir" not in config.data:
      raise ValueError(f"--data_dir: {config.data.name} is generated; leave the flag out")
    config.data.data_dir = _DATA_DIR.value
  run = train.Run(identity.resolve_paths(config), path, trials)
  identity.check_data(flag, path, identity.describe_data(run.dataset))
  if run.restore(read_only=True).step == 0:
    raise ValueError(f"{flag}: {path} holds no checkpoint yet; run launch.train first")
  return run


if __name__ == "__main__":
  app.run(main)
