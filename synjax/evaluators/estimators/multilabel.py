"""Several labels an example: one logistic regression a label, and scores of all of them.

The linear probe of tasks any of whose labels an example may have (`Dataset.multilabels`), and the scores
of classifiers of such labels.
"""

import logging
from collections.abc import Mapping

import numpy as np
import scipy.special

from synjax.evaluators.estimators import linear, logistic, metrics
from synjax.workdir.probes import Probe

logger = logging.getLogger("synjax")

METRICS = (  # of `scores`
  *("macro_accuracy", "macro_accuracy_low", "macro_accuracy_high", "accuracy"),
  *("macro_f1", "weighted_f1", "auroc"),
)
CHANCE = 0.5  # macro accuracy of predictions that know nothing of the example
_HOLD_OUT_SHARE, _HOLD_OUT_SEED = 0.4, 48
_PUBLISHED_ITERATIONS = 100  # of scikit-learn's solver


def scores(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Scores logits of several labels an example; a label is predicted where its logit is above 0.

  Args:
    logits: [examples, labels], of each label's own sigmoid.
    labels: [examples, labels] of 0 and 1.

  Returns:
    Fractions. "macro_f1", mean over labels of F1 = 2 TP / (2 TP + FP + FN), 0 where all three are 0, and
    "weighted_f1", weighted by how many examples have the label: scikit-learn's `f1_score` with
    `zero_division=0`. "accuracy", share of right entries. "macro_accuracy", mean over labels of balanced
    accuracy, 1/2 by chance whatever the labels' shares, and "auroc", likewise; both over the labels that
    some examples have and some have not, NaN where there is none. "macro_accuracy_low" and
    "macro_accuracy_high", ends of its 95 % interval: the means of the labels' own ends, which hold
    however the labels depend on one another.

  Raises:
    ValueError: shapes do not fit, or there are no examples.

  Source: docs/spec/infmasking.md 9, docs/spec/data.md 6 (weighted and macro F1).
  """
  logits, labels = np.asarray(logits, np.float64), np.asarray(labels)
  if logits.ndim != 2 or logits.shape != labels.shape or not logits.size:
    raise ValueError(
      f"multilabel.scores: expected logits and labels, both [examples, labels], found {logits.shape} and"
      f" {labels.shape}"
    )
  predicted, truth = logits > 0, labels > 0
  f1 = f1_scores(predicted, truth)
  count = truth.sum(axis=0)
  both = np.flatnonzero((count > 0) & (count < len(truth)))
  rows = np.array(
    [
      (metrics.macro_accuracy(p, t), *metrics.macro_accuracy_interval(p, t))
      for p, t in zip(predicted[:, both].T.astype(int), truth[:, both].T.astype(int), strict=True)
    ]
  ).reshape(len(both), 3)
  areas = [metrics.auroc(_two(logits[:, k]), truth[:, k].astype(int)) for k in both]
  balanced = rows.mean(axis=0) if len(both) else np.full(3, np.nan)
  return {
    **dict(zip(METRICS[:3], map(float, balanced), strict=True)),
    "accuracy": float((predicted == truth).mean()),
    "macro_f1": float(f1.mean()),
    "weighted_f1": float((f1 * count).sum() / max(count.sum(), 1)),
    "auroc": float(np.mean(areas)) if areas else np.nan,
  }


def f1_scores(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
  """Returns F1 of every label, 0 where it is neither predicted nor there; of bool[examples, labels]."""
  both = (predicted & truth).sum(axis=0)
  return 2 * both / np.maximum(predicted.sum(axis=0) + truth.sum(axis=0), 1)


def _two(logit: np.ndarray) -> np.ndarray:
  """Returns probabilities [examples, 2] of not having and having a label."""
  return np.stack([scipy.special.expit(-logit), scipy.special.expit(logit)], axis=1)


def evaluate(
  train: linear.Split,
  test: linear.Split,
  validation: linear.Split | None = None,
  *,
  num_labels: int,
  protocol: str = "clean",
  search: str = "fine",
  keep=None,
) -> dict[str, float]:
  """Chooses one cost for all labels, fits a logistic regression to each and scores the test split once.

  The cost maximises macro F1 on `validation`, fitted on `train`; without it on 40 % of `train`, held out
  at random, and the probes are then fitted again on all of it. With `validation`, `paper` fits again on
  train + validation and searches the coarse costs alone, both as published; `clean` keeps the fit on
  `train`. A label that all or no training examples have is predicted for all or none.

  Args:
    train: features `[train, dim]` and labels `[train, labels]` of 0 and 1.
    test: likewise; not looked at before the last fit is done.
    validation: likewise, or None.
    num_labels: how many.
    protocol: `paper` or `clean` (default).
    search: `fine` or `coarse`, see `linear.search_cost`.
    keep: called with the probe that is scored; None: nobody needs it.

  Returns:
    `scores`; the chosen `cost`; and `converged`, the share of the labels' solvers that reached their
    tolerance.

  Raises:
    ValueError: a split does not fit, or `protocol` or `search` is unknown.

  Source: docs/spec/infmasking.md 9: scikit-learn's one-vs-rest logistic regression.
  """
  if protocol not in linear.PENALTIES:
    raise ValueError(f"evaluate: unknown protocol {protocol!r}, expected 'paper' or 'clean'.")
  train, test = _check(train, num_labels), _check(test, num_labels)
  validation = validation and _check(validation, num_labels)
  features, labels, fit_on, score_on, final = linear.arrange(train, validation, protocol, _hold_out)
  published = protocol == "paper"
  fits = _OneVersusRest(features, labels, _PUBLISHED_ITERATIONS if published else None)
  fitted = {}

  def score(cost):
    fitted[cost] = fits.fit(cost, fit_on)
    predicted = fitted[cost][0](features[score_on]) > 0
    return float(f1_scores(predicted, labels[score_on] > 0).mean())

  cost = linear.search_cost(score, search="coarse" if published else search).cost
  refit = not np.array_equal(final, fit_on)
  probe, converged = fits.fit(cost, final) if refit else fitted[cost]
  if not published and converged < 1:
    logger.warning(
      "linear probe of several labels: C = %g: %.0f %% of the solvers did not converge", cost,
      100 * (1 - converged),
    )  # fmt: skip
  if keep is not None:
    keep(probe)
  return scores(probe(test.features), test.labels) | {
    "cost": cost,
    "converged": converged,
  }


def evaluate_tasks(
  train: linear.Split,
  test: linear.Split,
  validation: linear.Split | None = None,
  *,
  num_labels: Mapping[str, int],
  protocol: str = "clean",
  search: str = "fine",
  fitted=None,
  keep: linear.Keep | None = None,
) -> dict[str, np.ndarray]:
  """Evaluates several such tasks on the embeddings of several seeds, see `linear.evaluate_tasks`."""
  return linear.over_tasks(
    {"train": train, "test": test, "validation": validation},
    num_labels,
    lambda task, one, count: evaluate(
      **one,
      num_labels=count,
      protocol=protocol,
      search=search,
      keep=keep and (lambda probe: keep(task, probe)),
    ),
    fitted,
  )


def _hold_out(labels: np.ndarray) -> np.ndarray:
  """Returns the indices of 40 % of the examples; labels that go together cannot be stratified."""
  order = np.random.default_rng(_HOLD_OUT_SEED).permutation(len(labels))
  return order[: round(_HOLD_OUT_SHARE * len(labels))]


class _OneVersusRest:
  """A logistic regression of each label, of examples that are prepared once for all labels and costs."""

  def __init__(self, features: np.ndarray, labels: np.ndarray, max_iterations: int | None):
    self._labels, self._dim, self._limit = labels, features.shape[1], max_iterations
    problem = logistic.Problem(features, labels[:, 0], num_classes=2, penalty="squared")
    self._problems = [problem.with_labels(column) for column in labels.T]

  def fit(self, cost: float, valid: np.ndarray) -> tuple[Probe, float]:
    """Returns the probe, `[labels]` logits an example, and the share of the labels that converged."""
    weight, bias, converged = [], [], []
    for column, problem in zip(self._labels.T, self._problems, strict=True):
      found = np.unique(column[valid])
      if len(found) < 2:  # nothing to fit: the same for all examples
        weight.append(np.zeros(self._dim))
        bias.append(1.0 if found[0] else -1.0)
        converged.append(True)
        continue
      one = problem.fit(cost, valid=valid, warm=True, max_iterations=self._limit)
      weight.append(one.weight[1] - one.weight[0])
      bias.append(one.bias[1] - one.bias[0])
      converged.append(one.converged)
    return Probe(np.stack(weight), np.array(bias)), float(np.mean(converged))


def _check(split: linear.Split, num_labels: int) -> linear.Split:
  features, labels = np.asarray(split.features), np.asarray(split.labels)
  fits = features.ndim == 2 and labels.shape == (len(features), num_labels) and len(labels)
  if not fits or not np.isin(labels, (0, 1)).all() or not np.isfinite(features).all():
    raise ValueError(
      f"multilabel.evaluate: expected finite features [examples, dim] and labels [examples, {num_labels}]"
      f" of 0 and 1, not empty, found {features.shape} and {labels.dtype}{list(labels.shape)}"
    )
  return linear.Split(features, labels.astype(np.int32))
