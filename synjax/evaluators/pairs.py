"""What every pair of modalities tells about a label: redundant, unique, synergistic, in bits."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from synjax.evaluators.estimators import cross_fitted, pid_interval, quantise
from synjax.evaluators.estimators.pid_interval import Decomposition

ESTIMATORS = ("clusters", "classifiers")


@dataclasses.dataclass(frozen=True)
class Pair:
  """One pair of modalities, decomposed by one estimator.

  Attributes:
    modalities: the two, in the order of `unique1` and `unique2`.
    estimator: "clusters": BROJA of the numbers of k-means clusters (of the distinct values where these
      are few). "classifiers": BROJA of the codes of cross-fitted predictions p(y | x1) and p(y | x2), and
      for synergy what a classifier of both tells more than their union.
    num_codes: how many codes each modality has at most.
    parts: the decomposition.
  """

  modalities: tuple[str, str]
  estimator: str
  num_codes: int
  parts: Decomposition


def decompose_pairs(
  features: Mapping[str, np.ndarray],
  labels: np.ndarray,
  *,
  num_codes: int | None = None,
  num_shuffles: int = 20,
  num_bootstraps: int = 200,
  seed: int = 0,
  done: Callable[[], None] = lambda: None,
) -> Iterator[Pair]:
  """Decomposes what each pair of modalities says about a label, by both estimators.

  A classifier of both modalities need not find everything: its synergy is a lower bound. Clusters see
  what lies in the directions of largest variance. Union information depends on (X1, Y) and (X2, Y) alone,
  so that predictions p(y | x_i), which are sufficient for Y, lose none of it but by being coded.

  Args:
    features: modality -> [examples, dim], finite; at least two modalities.
    labels: int[examples], classes 0, 1, ....
    num_codes: of each modality; None: as many as the examples allow (`quantise.affordable`).
    num_shuffles: of the null.
    num_bootstraps: of the intervals.
    seed: of all draws.
    done: is called after each of `num_parts(len(features))` parts of the work.

  Yields:
    Pairs of modalities in their order, each by every estimator of `ESTIMATORS`.

  Raises:
    ValueError: fewer than two modalities, fewer than two classes, a class of fewer than five examples, or
      fewer examples than cells.

  Source: BROJA and the invariance, Bertschinger et al., Entropy 16 (2014), 2161, Sec. 3; clusters and
  classifiers before a discrete decomposition, Liang et al., NeurIPS 2023 (arXiv 2302.12247), Sec. 3.
  """
  labels = np.unique(np.asarray(labels), return_inverse=True)[1].reshape(-1)
  classes = int(labels.max(initial=0)) + 1
  if len(features) < 2 or classes < 2:
    raise ValueError(
      f"pid: expected at least two modalities and two classes, found modalities {tuple(features)} and"
      f" {classes} class{'es' if classes > 1 else ''}"
    )
  codes = quantise.affordable(len(labels), classes) if num_codes is None else num_codes
  most = int(
    (len(labels) / classes) ** 0.5
  )  # of each modality: cells of a pair are at most examples
  draws = {"num_shuffles": num_shuffles, "num_bootstraps": num_bootstraps, "seed": seed}
  # Predictions crowd in a few cells, so that they can have more: what coding loses of each alone would be
  # taken for synergy.
  predicted = max(codes, min(quantise.MAX_CODES, most))
  distinct = most if num_codes is None else 0
  clusters, predictions = {}, {}
  for name, values in features.items():
    clusters[name] = quantise.codes(values, codes, max_distinct=distinct, seed=seed)
    predictions[name] = cross_fitted.predict(values, labels, seed=seed)
    done()
  for pair in itertools.combinations(features, 2):
    first, second = (clusters[name] for name in pair)
    yield Pair(pair, "clusters", codes, pid_interval.decompose(first, second, labels, **draws))
    done()
    first, second = (predictions[name] for name in pair)
    joint = cross_fitted.predict(np.hstack([features[name] for name in pair]), labels, seed=seed)
    best = max(
      (joint, cross_fitted.product(first, second, labels)),
      key=lambda found: cross_fitted.told(found, labels),
    )
    done()
    parts = pid_interval.decompose(
      *(cross_fitted.predicted_codes(own, predicted, seed=seed) for own in (first, second)),
      labels,
      both=cross_fitted.predicted_codes(best, quantise.MAX_CODES, seed=seed),
      **draws,
    )
    yield Pair(pair, "classifiers", predicted, parts)
    done()


def num_parts(num_modalities: int) -> int:
  """Returns how often `decompose_pairs` calls `done`."""
  return num_modalities + 3 * (num_modalities * (num_modalities - 1) // 2)
