"""predictions.npz: the class scores of a classifier, for comparisons of runs with one another."""

import pathlib
from typing import Any

import numpy as np

from synjax import parallel
from synjax.evaluators.base import Evaluator, Moment, Scores, When, provides
from synjax.evaluators.estimators import wrong_subsets
from synjax.workdir import arrays as array_files
from synjax.workdir import files
from synjax.workdir.scores import Score

SPLITS = ("val", "test")


class Predictions(Evaluator):
  """Keeps the class scores of the selected parameters on the validation and test splits.

  Arrays: `seeds` [trials]; `<split>/label` int[trials, examples], `<split>/logits` float32[trials,
  examples, classes], and of models that share nothing (ensemble, unimodal) `members` [modalities] and
  `<split>/unimodal` float32[trials, examples, modalities, classes], NaN where an example lacks one.

  "test/label/half_count" is the accuracy as published with SynIB, see `wrong_subsets.half_count`, by
  the sum of logits of models that share nothing (docs/spec/synib.md 7). Not of several labels an example,
  whose arrays of labels are int[trials, examples, labels].
  """

  name = "predictions"
  when = frozenset({When.END})
  requires = ("logits",)
  file = files.PREDICTIONS

  def run(self, frozen: Any, when: When) -> Scores:
    """Scores the test split as published."""
    del when
    if self.dataset.label_kind == "multilabel":
      return {}
    split = self.dataset.test
    logits = frozen.logits(split)
    if provides(self.method, "members"):  # whose `logits` are log-probabilities: never above 0
      logits = np.nansum(frozen.unimodal_logits(split), axis=2)
    pairs = zip(logits, frozen.field("label", split), strict=True)
    values = np.array([wrong_subsets.half_count(*pair) for pair in pairs])
    return {str(Score("test", self.dataset.called, "half_count")): values}

  def record(self, frozen: Any, moment: Moment) -> Scores:
    """Scores as `run` does, and writes the file."""
    arrays = {"seeds": frozen.seeds}
    apart = provides(self.method, "members")
    if apart:
      arrays["members"] = np.array(self.method.members())
    for name in SPLITS:
      split = getattr(self.dataset, name)
      arrays |= {
        f"{name}/label": frozen.field("label", split),
        f"{name}/logits": frozen.logits(split),
      }
      if apart:
        arrays[f"{name}/unimodal"] = frozen.unimodal_logits(split)
    if parallel.is_first_host():  # all hosts compute, one writes
      array_files.write(moment.workdir / self.file, arrays)
    return self.run(frozen, moment.when)


def read(path: pathlib.Path, advice: str) -> dict[str, np.ndarray]:
  """Reads such a file, see `workdir.arrays.read`."""
  arrays = ("seeds", *(f"{split}/{name}" for split in SPLITS for name in ("label", "logits")))
  return array_files.read(path, advice, arrays)
