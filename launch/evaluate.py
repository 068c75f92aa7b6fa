"""Scores a trained run again: python -m launch.evaluate --workdir=FOLDER [--which=best|last].

Scores the checkpoint in the workdir, prints the scores, and writes `evaluation.json` and, of probed runs,
the representations of all splits as `embeddings.npz`. With --unimodal=FOLDER, a run of `ensemble` on the
same data and seeds, also the synergy subset: the test examples that every unimodal model gets wrong. With
--subsets, of probed runs, also what every subset of the modalities is worth, as scores and `subsets.png`.
"""

import contextlib
import json
import logging
import pathlib

from absl import flags
from ml_collections import ConfigDict

from configs import defaults
from launch import app
from synjax import evaluators, export, train
from synjax.evaluators import classification, representation
from synjax.report.subset_plots import plot_subsets
from synjax.workdir import files, identity, lock

logger = logging.getLogger("synjax")

_WORKDIR = app.define_path("workdir", "Folder of a run of launch.train.")
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which parameters to score.")
_DATA_DIR = app.define_path(
  "data_dir", "Where the data are now; default: where they were at training."
)
_UNIMODAL = app.define_path("unimodal", "Folder of a run of the method ensemble.")
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
  found = run.test(_WHICH.value) | subsets
  if _UNIMODAL.value:
    other = _load("--unimodal", _UNIMODAL.value)
    found |= classification.test_synergy_subset(run, other, _WHICH.value)
    other.checkpointer.close()
  scores = {
    name: {str(seed): float(v) for seed, v in zip(run.seeds, value, strict=True)}
    for name, value in found.items()
  }
  content = {"which": _WHICH.value, "step": run.step, "unimodal": _UNIMODAL.value, "scores": scores}
  files.write_atomically(path / "evaluation.json", files.to_json(content, indent=2))
  if subsets:
    chance = evaluators.chance(run.config, run.dataset)
    title = f"Test split by modalities: {run.config.method.name}, {run.dataset.name}"
    plot_subsets(subsets, chance=chance, title=title).savefig(path / "subsets.png")
    print(f"plot: {path / 'subsets.png'}")
  for name, by_seed in scores.items():
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


def _load(flag: str, workdir: str) -> train.Run:
  """Restores the run of a workdir."""
  path = pathlib.Path(workdir)
  file = path / identity.CONFIG
  if not file.exists():
    raise ValueError(f"{flag}: expected the folder of a run, found no {file}")
  config = json.loads(file.read_text())
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
