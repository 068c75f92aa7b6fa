"""What every subset of the modalities is worth."""

import itertools
from collections.abc import Sequence
from typing import Any

from synjax.evaluators.base import Evaluator, Scores, When
from synjax.evaluators.progress import Progress
from synjax.evaluators.representation import Representation, is_labelled, score_subset

MAX_MODALITIES = 4  # 15 subsets


class Subsets(Evaluator):
  """Scores the test split with every non-empty subset of the modalities, as `Representation` with all.

  "subset/<modality>+<modality>/<task>/<metric>" and "subset/.../mean/macro_accuracy"; single modalities
  first, in fusion order within a name. M modalities have 2^M - 1 subsets.
  """

  name = "subsets"
  when = frozenset({When.REQUEST})
  flag = "subsets"
  flag_help = "Score every subset of the modalities."

  def check(self) -> None:
    """Checks that there are probes, labels, and few modalities.

    Raises:
      ValueError: the run is not scored by its representation, there are no labels, or there are too many
        modalities.
    """
    config, modalities = self.config, self.dataset.modalities
    if not Representation.wanted(config):
      raise ValueError(
        "--subsets: expected a run that is scored by its representation, found config.evaluators"
        f" {tuple(config.evaluators)}; a classifier (config.method.name {config.method.name}) has no"
        " probes to compare subsets with: leave --subsets out"
      )
    if not is_labelled(self.dataset):
      raise ValueError(
        f"--subsets: expected data with labels, found none in {self.dataset.name}; leave --subsets out"
      )
    if len(modalities) > MAX_MODALITIES:
      raise ValueError(
        f"--subsets: expected up to {MAX_MODALITIES} modalities, found {modalities}: that would be"
        f" {2 ** len(modalities) - 1} subsets; leave --subsets out"
      )

  def embedded(self, when: When) -> tuple[tuple[str, ...], ...]:
    """Returns every subset."""
    del when
    return tuple(subsets(self.dataset.modalities))

  def run(self, frozen: Any, when: When) -> Scores:
    """Probes every subset."""
    del when
    scores, chosen = {}, subsets(self.dataset.modalities)
    said = Progress("subsets of the modalities", len(chosen))
    for subset in chosen:
      seen = "+".join(subset)
      scores |= score_subset(self.config, self.dataset, frozen, subset, "subset", seen)
      said()
    return scores


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
  """Returns the 2^M - 1 non-empty subsets, small ones first, each in fusion order."""
  sizes = range(1, len(modalities) + 1)
  return [subset for size in sizes for subset in itertools.combinations(modalities, size)]
