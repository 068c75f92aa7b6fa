"""embeddings.npz: the representations of a run, for plots and for other tools."""

from typing import Any

import numpy as np
from ml_collections import ConfigDict

from synjax import parallel
from synjax.data import pipeline
from synjax.evaluators.base import Evaluator, Moment, Scores, When
from synjax.evaluators.classification import Classification
from synjax.evaluators.representation import Representation
from synjax.workdir import arrays as array_files
from synjax.workdir import files

MASKED_EXAMPLES = 64  # of the test split: enough for a picture, small on disk


class Embeddings(Evaluator):
  """Keeps representations in a file: of the test split at the end, on request of all splits.

  Runs on stored data have it without being asked; where examples are made, a config can ask for it.

  Arrays: `seeds` [trials]; for every split `<split>/embeddings` float32[trials, examples, dim] and
  `<split>/<task>` [examples], classes as they are called in the user's files. Where examples were read,
  `<split>/index` int[examples] are their rows in the file `<split>/file`, and `<split>/ids` [examples]
  the user's names of them. Where the method masks, `test/masked` float32[trials, num_views, m, dim] with
  `test/masked_index` int[m], the rows of `test/embeddings` they belong to: both are of the same inputs,
  cut and cropped alike.
  """

  name = "embeddings"
  when = frozenset({When.END, When.REQUEST})
  requires = ("embed",)
  file = files.EMBEDDINGS

  def __init__(self, config: ConfigDict, dataset: Any, method: Any):
    super().__init__(config, dataset, method)
    if dataset.test.generate is not None and not super().wanted(config):
      self.when = frozenset()

  @classmethod
  def wanted(cls, config: ConfigDict) -> bool:
    """Says whether a config asks for it, or for scores."""
    return super().wanted(config) or any(e.wanted(config) for e in (Classification, Representation))

  def run(self, frozen: Any, when: When) -> Scores:
    """Returns no scores."""
    del frozen, when
    return {}

  def record(self, frozen: Any, moment: Moment) -> Scores:
    """Writes the file; returns no scores."""
    arrays = {"seeds": frozen.seeds}
    for name in ("test",) if moment.when is When.END else ("probe", "val", "test"):
      arrays |= self._of_split(frozen, name)
    test = self.dataset.test
    shown = min(MASKED_EXAMPLES, test.num_examples)
    masked = frozen.embed_masked(test, shown)
    if masked is not None:
      arrays |= {"test/masked": masked, "test/masked_index": np.arange(shown)}
    if parallel.is_first_host():  # all hosts compute, one writes
      array_files.write(moment.workdir / self.file, arrays)
    return {}

  def _of_split(self, frozen: Any, name: str) -> dict[str, np.ndarray]:
    split = getattr(self.dataset, name)
    arrays = {f"{name}/embeddings": frozen.embed(split)}
    for task, labels in split.labels.items():
      classes = self.dataset.class_names.get(task)
      named = classes is not None and task in self.dataset.tasks
      arrays[f"{name}/{task}"] = np.array(classes)[labels] if named else labels
    return arrays | {f"{name}/{field}": value for field, value in _origin(split).items()}


def _origin(split: pipeline.Split) -> dict[str, np.ndarray]:
  """Returns which examples of the user's files a split holds; nothing where they are made."""
  if split.origin is None:
    return {}
  known = {"file": np.array(split.origin.file), "index": split.origin.index}
  return known if split.origin.ids is None else known | {"ids": split.origin.ids}
