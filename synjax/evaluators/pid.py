"""Partial information decomposition of two modalities' features about the label.

Also the public names of `estimators.broja`, which computes it.
"""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from synjax.evaluators.base import Evaluator, Scores, When, provides
from synjax.evaluators.estimators import kmeans
from synjax.evaluators.estimators.broja import (
  PID,
  SampledPID,
  broja,
  gaussian_mmi,
  pid_of_samples,
)
from synjax.workdir.scores import Score

logger = logging.getLogger("synjax")

# Of each modality. Few, for what is reported where there is nothing grows with their product.
NUM_CLUSTERS = 8


class PIDOfFeatures(Evaluator):
  """Decomposes what two modalities' features tell about the label, in bits, on the test split.

  Each modality's features (`Method.features`) become the numbers of their k-means clusters, and
  `estimators.broja.pid_of_samples` decomposes these: a number of the trained encoders, not of the data,
  over the examples that have both modalities.
  "test/<task>/pid/<part>" for the parts redundancy, unique1, unique2 and synergy (1, 2: in fusion order),
  with "<part>_null" and "<part>_null_std" of shuffled labels: a part below null + 2 std is no evidence.

  Source: clustered features are the estimator of Liang et al., NeurIPS 2023 (arXiv 2302.12247), Sec. 3;
  its networks before the clusters are here the run's own.
  """

  name = "pid"
  when = frozenset({When.END, When.REQUEST})
  requires = ("features",)
  flag = "pid"
  flag_help = (
    "Decompose what two modalities' features tell about the label, in bits; NAME_null: what"
    " shuffled labels give. launch.pid does so with intervals and words."
  )

  def check(self) -> None:
    """Raises ValueError when there are not two modalities, or no classes."""
    super().check()
    known = self.dataset.tasks or (self.dataset.num_classes and not self.dataset.multilabels)
    if len(self.dataset.modalities) != 2 or not known:
      raise ValueError(
        "config.evaluators, --pid: expected two modalities and labels with classes, found"
        f" {self.dataset.modalities} and {dict(self.dataset.tasks) or 'none'} in {self.dataset.name};"
        " leave pid out"
      )
    members = self.method.members() if provides(self.method, "members") else None
    if members is not None and len(members) != 2:
      raise ValueError(self._one_sided(members))
    if not self._complete().any():
      raise ValueError(
        "config.evaluators, --pid: expected test examples that have both modalities, found none among"
        f" {self.dataset.test.num_examples} in {self.dataset.name}; leave pid out"
      )

  def _one_sided(self, found: Iterable[str]) -> str:
    return (
      f"config.evaluators, --pid: expected features of both modalities, found those of {sorted(found)}:"
      f" a run of {self.config.method.name} has no others; leave pid out"
    )

  def _complete(self) -> np.ndarray:
    """Returns which test examples have both modalities, bool[examples]."""
    test, complete = self.dataset.test, np.ones(self.dataset.test.num_examples, bool)
    for name in self.dataset.modalities:
      having = test.having((name,))
      complete &= True if having is None else having
    return complete

  def run(self, frozen: Any, when: When) -> Scores:
    """Clusters and decomposes every trial's features."""
    del when
    test = self.dataset.test
    features, complete = frozen.features(test), self._complete()
    if len(features) != 2:
      raise ValueError(self._one_sided(features))
    clusters = min(NUM_CLUSTERS, int(complete.sum()))
    pairs = zip(*(own[:, complete] for own in features.values()), strict=True)
    codes = [_codes(pair, clusters) for pair in pairs]
    lost = [str(seed) for seed, own in zip(frozen.seeds, codes, strict=True) if own is None]
    if lost:
      logger.warning("pid: features of seed %s are not finite: no scores", ", ".join(lost))
    scores = {}
    for task, labels in self._labels(frozen):
      found = [
        own and pid_of_samples(*own, label)
        for own, label in zip(codes, labels[:, complete], strict=True)
      ]
      for part in (field.name for field in dataclasses.fields(PID)):
        for name, attribute in (
          ("", "estimate"),
          ("_null", "null_mean"),
          ("_null_std", "null_std"),
        ):
          values = [one and getattr(getattr(one, attribute), part) for one in found]
          values = [np.nan if value is None else value for value in values]
          scores[str(Score("test", task, f"pid/{part}{name}"))] = np.array(values)
    return scores

  def _labels(self, frozen) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (task with classes, labels [trials, examples])."""
    test, trials = self.dataset.test, len(frozen.seeds)
    if not test.labels:  # made for every trial
      yield "label", frozen.field("label", test)
    for task in self.dataset.tasks if test.labels else ():
      yield task, np.broadcast_to(test.labels[task], (trials, len(test.labels[task])))


def _codes(pair: Sequence[np.ndarray], clusters: int) -> list[np.ndarray] | None:
  """Returns the clusters of both modalities of a trial; None where its features are not finite."""
  if not all(np.isfinite(own).all() for own in pair):
    return None
  return [kmeans.assign(own, clusters) for own in pair]


__all__ = [
  "NUM_CLUSTERS",
  "PID",
  "PIDOfFeatures",
  "SampledPID",
  "broja",
  "gaussian_mmi",
  "pid_of_samples",
]
