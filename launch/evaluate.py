"""Scores a trained run again: python -m launch.evaluate --workdir=FOLDER [--which=best|last].

Scores the checkpoint in the workdir, prints tables of the scores, and writes `evaluation.json` and, of
probed runs, the representations of all splits as `embeddings.npz`. With --unimodal=FOLDER, a run of
`ensemble` on the same data and seeds, also the synergy subset: the test examples that every unimodal
model gets wrong. Its models are selected together, by the ensemble's score; with
--unimodal=FOLDER,FOLDER,... of runs of `unimodal`, one a modality, each is selected by its own. With
--subsets, of probed runs, also what every subset of the modalities is worth, with `subsets.png`.
"""

import contextlib
import logging
import pathlib
import shlex
import sys

from absl import flags

from launch import app, stored_run
from synjax import evaluators, train
from synjax.evaluators import When
from synjax.report import score_tables
from synjax.report.score_plots import write_score_plots
from synjax.training import outcome
from synjax.workdir import evaluation, files, lock

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
  run = stored_run.load("--workdir", _WORKDIR.value, _DATA_DIR.value)
  # First of all: a run that has no such scores is refused before anything is computed.
  asked, compared = _requested(run)
  found = run.score(_WHICH.value, When.REQUEST, keep=alone) | asked
  command = shlex.join(["python", "-m", "launch.evaluate", *sys.argv[1:]])
  content = outcome.evaluation(run, _WHICH.value, found, compared, command)
  evaluation.write(path, content)
  title = f"Test split by modalities: {run.config.method.name}, {run.dataset.name}"
  chance = evaluators.chance(run.evaluators)
  count = run.dataset.test.num_examples
  for plot in write_score_plots(path, asked, chance=chance, title=title, num_examples=count):
    print(f"plot: {plot}")
  print(score_tables.render(content["scores"], chance=chance, dataset=run.dataset.name))
  print(f"scores of every seed: {path / files.EVALUATION}")
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
      others = [
        stored_run.load(f"--{name}", files.resolve(folder), _DATA_DIR.value)
        for folder in asked[name][1]
      ]
      found, compared[name] = evaluator.compare(run, others, _WHICH.value)
      for other in others:
        other.checkpointer.close()
    else:
      found = evaluators.run((evaluator,), run.frozen(_WHICH.value), When.REQUEST)
    scores |= found
  return scores, compared


if __name__ == "__main__":
  app.run(main, "python -m launch.evaluate --workdir=runs/small")
