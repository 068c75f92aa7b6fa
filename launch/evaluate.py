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
from typing import Any

from absl import flags
from ml_collections import ConfigDict

from configs import defaults
from launch import app
from synjax import evaluators, train
from synjax.evaluators import When
from synjax.report.score_plots import write_score_plots
from synjax.training import outcome
from synjax.workdir import evaluation, files, identity, json_files, lock

logger = logging.getLogger("synjax")

_WORKDIR = app.define_path("workdir", "Folder of a run of launch.train.")
_WHICH = flags.DEFINE_enum("which", "best", ["best", "last"], "Which parameters to score.")
_DATA_DIR = app.define_path(
  "data_dir",
  "Where the data are now; default: where they were at training. Its test.npz of own arrays may hold new"
  " examples.",
)
# flag -> (what it asks for, its value)
_REQUESTS = {
  name: (
    cls,
    flags.DEFINE_list(name, None, cls.flag_help)
    if issubclass(cls, evaluators.Comparison)
    else flags.DEFINE_boolean(name, False, cls.flag_help),
  )
  for name, cls in evaluators.on_request().items()
}
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
  """Scores the run and writes what it finds; files that a run writes too, only if `alone`."""
  run = _load("--workdir", _WORKDIR.value)
  # First of all: a run that has no such scores is refused before anything is computed.
  asked, compared = _requested(run)
  found = run.score(_WHICH.value, When.REQUEST, keep=alone) | asked
  command = shlex.join(["python", "-m", "launch.evaluate", *sys.argv[1:]])
  content = outcome.evaluation(run, _WHICH.value, found, compared, command)
  evaluation.write(path, content)
  title = f"Test split by modalities: {run.config.method.name}, {run.dataset.name}"
  chance = evaluators.chance(run.evaluators)
  for plot in write_score_plots(path, asked, chance=chance, title=title):
    print(f"plot: {plot}")
  for name, by_seed in content["scores"].items():
    print(f"{name:50s} " + "  ".join(f"seed {seed}: {v:.4f}" for seed, v in by_seed.items()))
  for evaluator in run.evaluators:
    if evaluator.file and When.REQUEST in evaluator.when:
      where = path / evaluator.file if alone else "left to the run in progress"
      print(f"{evaluator.name}: {where}")
  run.checkpointer.close()


def _requested(run: train.Run) -> tuple[dict, dict]:
  """Scores the run as the flags ask; returns (scores, flag -> what it was compared with)."""
  scores, compared = {}, {}
  asked = {name: (cls, flag.value) for name, (cls, flag) in _REQUESTS.items() if flag.value}
  chosen = {
    name: cls(run.config, run.dataset, run.method)
    for name, (cls, _) in asked.items()
    if not cls.wanted(run.config)
  }
  for evaluator in chosen.values():
    evaluator.check()
  for name, evaluator in chosen.items():
    if isinstance(evaluator, evaluators.Comparison):
      others = [_load(f"--{name}", files.resolve(folder)) for folder in asked[name][1]]
      found, compared[name] = evaluator.compare(run, others, _WHICH.value)
      for other in others:
        other.checkpointer.close()
    else:
      found = evaluator.run(run.frozen(_WHICH.value), When.REQUEST)
    scores |= found
  return scores, compared


def _load(flag: str, workdir: str | pathlib.Path) -> train.Run:
  """Restores the run of a workdir."""
  path = pathlib.Path(workdir)
  file = path / files.CONFIG
  if not file.exists():
    raise ValueError(f"{flag}: expected the folder of a run, found no {file}")
  config = _read_config(flag, path)
  trials = config.pop("trials", None)
  config = ConfigDict(config)
  if _DATA_DIR.value:
    if "data_dir" not in config.data:
      raise ValueError(f"--data_dir: {config.data.name} is generated; leave the flag out")
    config.data.data_dir = _DATA_DIR.value
  config = identity.resolve_paths(config)
  _require_data(flag, path, config)
  try:
    run = train.Run(config, path, trials)
  except (AttributeError, KeyError, TypeError) as error:  # as a section without its fields raises
    raise _not_of_a_run(flag, file, error) from error
  found = identity.describe_data(run.dataset)
  identity.check_data(flag, path, found, new_test=bool(_DATA_DIR.value))
  if run.restore(read_only=True).step == 0:
    raise ValueError(f"{flag}: {path} holds no checkpoint yet; run launch.train first")
  return run


def _read_config(flag: str, path: pathlib.Path) -> dict[str, Any]:
  """Reads a run's config; fields that it lacks are at their defaults, as older versions had them."""
  config = identity.read_config(path)
  try:
    known = defaults.of(config)
  except ValueError as error:
    raise _not_of_a_run(flag, path / files.CONFIG, error) from error
  wrong = json_files.mismatch(config, json_files.like(known))
  if wrong:
    raise _not_of_a_run(flag, path / files.CONFIG, wrong)
  return identity.fill(config, known)


def _not_of_a_run(flag: str, file: pathlib.Path, found: object) -> ValueError:
  return ValueError(
    f"{flag}: {file}: expected the config of a run, found another ({found}); bring the file back from a"
    " copy (results.json of a finished run holds the same config)"
  )


def _require_data(flag: str, path: pathlib.Path, config: ConfigDict) -> None:
  """Raises ValueError where the data of a run are no longer where they were."""
  where = config.data.get("data_dir")
  if where and not any(pathlib.Path(where).glob("*")):
    raise ValueError(
      f"{flag}: expected the data of {path} in {where}, found none; give the folder where they are now"
      " with --data_dir"
    )


if __name__ == "__main__":
  app.run(main)
