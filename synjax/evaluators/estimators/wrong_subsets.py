"""Test examples that separately trained unimodal models get wrong, and scores of predictions there."""

from collections.abc import Mapping

import numpy as np
from scipy.special import softmax

from synjax.evaluators.estimators import metrics

PERMUTATIONS = 1000
PUBLISHED = "synergy_subset"


def subsets(
  unimodal_logits: np.ndarray, label: np.ndarray, seeds: np.ndarray | None = None
) -> dict[str, np.ndarray]:
  """Finds the examples that unimodal models get wrong (docs/spec/synib_release.md 7).

  An example is judged by the models of the modalities it has, and without any it is in no subset.

  Args:
    unimodal_logits: [examples, modalities, classes] of one seed; NaN where an example lacks a modality.
    label: int[examples].
    seeds: [seeds, examples, modalities, classes] of the models of S seeds on the same examples; None:
      they are not known.

  Returns:
    bool[examples] of "synergy_subset" (published: every model of this seed is wrong), "ensemble_subset"
    (their mean probability is: the published rule is not known, this is ours) and, with `seeds`,
    "strict_subset" (every model of every seed is wrong) and "majority_subset" (of every modality, those
    of floor(S / 2) + 1 seeds or more are).
  """
  known = ~np.isnan(unimodal_logits).any(axis=-1)
  some = known.any(axis=1)
  wrong = unimodal_logits.argmax(-1) != label[:, None]
  probability = softmax(np.where(known[..., None], unimodal_logits, 0.0), axis=-1)
  total = np.where(known[..., None], probability, 0).sum(axis=1)
  found = {
    PUBLISHED: (wrong | ~known).all(axis=1) & some,
    "ensemble_subset": (total.argmax(-1) != label) & some,
  }
  if seeds is not None:
    counts = (seeds.argmax(-1) != label[:, None]).sum(axis=0)  # [examples, modalities]
    for name, least in {"strict": len(seeds), "majority": len(seeds) // 2 + 1}.items():
      found[f"{name}_subset"] = ((counts >= least) | ~known).all(axis=1) & some
  return found


def score(
  predicted: np.ndarray, label: np.ndarray, where: np.ndarray, *, seed: int = 0
) -> dict[str, float]:
  """Scores predictions on a part of the examples, beside what labels in random order score there.

  Args:
    predicted: int[examples].
    label: int[examples].
    where: bool[examples], the part.
    seed: of the permutations.

  Returns:
    "size" (examples), "accuracy" (NaN when empty) with the ends "accuracy_low" and "accuracy_high" of its
    95 % interval over examples (Wilson), "permuted" (mean accuracy when the labels of the part are
    permuted among its examples) and the 2.5 % and 97.5 % quantiles of 1,000 permutations, "permuted_low"
    and "permuted_high".
  """
  predicted, label = predicted[where], label[where]
  accuracy = mean(predicted == label)
  low, high = metrics.fraction_interval(accuracy, len(label))
  return {
    "accuracy": accuracy,
    "accuracy_low": float(low),
    "accuracy_high": float(high),
    "size": float(len(label)),
    **_permuted(predicted, label, seed),
  }


def half_count(logits: np.ndarray, label: np.ndarray) -> float:
  """Returns the published accuracy: share of all scores whose sign says whether the class is right.

  Each of the examples x classes scores is thresholded by itself, sigmoid(score) > 1/2, against the
  one-hot label (docs/spec/synib.md 5.4): no accuracy of predictions.

  Args:
    logits: [examples, classes].
    label: int[examples].
  """
  return float(((logits > 0) == np.eye(logits.shape[1], dtype=bool)[label]).mean())


def mean(values: np.ndarray) -> float:
  """Returns the mean, NaN of nothing."""
  return float(values.mean()) if len(values) else float("nan")


def _permuted(predicted: np.ndarray, label: np.ndarray, seed: int) -> Mapping[str, float]:
  """Returns mean and 95 % interval of the accuracy under permutations of the labels; NaN of nothing."""
  names = ("permuted", "permuted_low", "permuted_high")
  if not len(label):
    return dict.fromkeys(names, float("nan"))
  rng = np.random.default_rng(seed)
  found = [np.mean(predicted == rng.permutation(label)) for _ in range(PERMUTATIONS)]
  values = (np.mean(found), *np.quantile(found, (0.025, 0.975)))
  return dict(zip(names, map(float, values), strict=True))
