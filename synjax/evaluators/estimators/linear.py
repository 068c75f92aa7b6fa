"""Linear probe of frozen embeddings: search for the cost, last fit, test scores.

Runs on the embeddings of whole splits, during or after training; the encoder learns nothing from
it. The classifier is `estimators.logistic`. Two protocols:

    protocol  objective                        cost chosen on          last fit on
    paper     mean CE + |W| / (2 C)            validation              train + validation
                                               or 40 % of train        or all of train
    clean     mean CE + |W|^2 / (2 C N)        validation              train
                                               or 40 % of train        or all of train
"""

import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from synjax.evaluators.estimators import logistic, metrics

logger = logging.getLogger("synjax")

SEARCHES = ("coarse", "fine")
Keep = Callable[[str, Any], None]  # (task, a fitted probe)
METRICS = (  # of `evaluate`
  *("macro_accuracy", "macro_accuracy_low", "macro_accuracy_high"),
  *("accuracy", "top5_accuracy", "auroc"),
)
PENALTIES = {"paper": "norm", "clean": "squared"}
_TOP = 5
_COARSE_COSTS = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)


def metric_names(num_classes: int) -> tuple[str, ...]:
  """Returns the names of what `evaluate` scores that can select a checkpoint."""
  return tuple(name for name in METRICS if num_classes > _TOP or name != f"top{_TOP}_accuracy")


class Split(NamedTuple):
  """Embeddings of one split and their labels.

  Attributes:
    features: `[examples, dim]`, or `[trials, examples, dim]` for `evaluate_tasks`.
    labels: classes `[examples]`, or task name -> classes for `evaluate_tasks`.
  """

  features: np.ndarray
  labels: np.ndarray | Mapping[str, np.ndarray]


class CostSearch(NamedTuple):
  """Outcome of `search_cost`.

  Attributes:
    cost: the best cost C.
    scores: every cost tried -> its score, in the order tried.
  """

  cost: float
  scores: dict[float, float]


def search_cost(score: Callable[[float], float], *, search: str = "fine") -> CostSearch:
  """Searches the cost C with the highest score in [1e-6, 1e6], in two stages.

  Coarse: the first maximum over 1e-6, 1e-4, ..., 1e6. Fine: a grid G of 7 costs per decade, two
  decades to each side (29 costs; 15 at the ends of the range), is narrowed down: with m = |G|, of
  G[m/4], G[m/2] and G[m - ceil(m/4)] the first best decides which half remains (the lower, the
  middle or the upper one) until m = 1. The result is the first maximum of all costs tried, so the
  coarse one wins ties.

  Args:
    score: cost -> score, higher is better; called once per cost.
    search: `fine`, or `coarse` for the first stage alone.

  Returns:
    The best cost and all scores.

  Raises:
    ValueError: `search` is unknown.

  Source: docs/spec/infmasking.md 9 ("fine" is the published `fastsearch=False`). Costs are
  float32 values as published; here the coarse ones too, so that none is fitted twice.
  """
  if search not in SEARCHES:
    raise ValueError(f"search_cost: unknown search {search!r}, expected 'fine' or 'coarse'.")
  scores = {}

  def evaluate_costs(costs):
    for cost in map(float, costs):
      if cost not in scores:
        scores[cost] = score(cost)
    return int(np.argmax([scores[float(cost)] for cost in costs]))

  coarse = np.asarray(_COARSE_COSTS, np.float32)
  exponent = np.log10(_COARSE_COSTS[evaluate_costs(coarse)])
  if search == "fine":
    low, high = max(exponent - 2, -6.0), min(exponent + 2, 6.0)
    grid = np.logspace(low, high, round(7 * (high - low)) + 1).astype(np.float32)
    while len(grid) > 1:
      quarter, half, rest = len(grid) // 4, len(grid) // 2, len(grid) - -(-len(grid) // 4)
      best = evaluate_costs([grid[quarter], grid[half], grid[rest]])
      grid = (grid[:half], grid[quarter:rest], grid[half:])[best]
  return CostSearch(max(scores, key=scores.get), scores)


def cannot_fit(labels: np.ndarray, names: Sequence | None = None, *, hold_out: bool) -> str:
  """Says why no probe can be fitted to examples, which labels alone decide; "": one can.

  Args:
    labels: classes `[examples]`.
    names: of the classes, for the text; None: their numbers.
    hold_out: True: the cost is chosen on a part of them, see `holdout_split`.
  """
  classes = np.unique(labels)
  if not len(classes):
    return "there are no examples"
  if len(classes) < 2:
    return f"all are of class {classes[0] if names is None else names[classes[0]]}"
  return cannot_hold_out(labels, names) if hold_out else ""


def cannot_hold_out(
  labels: np.ndarray, names: Sequence | None = None, *, train_fraction: float = 0.6
) -> str:
  """Says why `holdout_split` cannot split examples, which labels alone decide; "": it can.

  Args:
    labels: classes `[examples]`.
    names: of the classes, for the text; None: their numbers.
    train_fraction: share of the first part.
  """
  classes, counts = np.unique(labels, return_counts=True)
  num_train = int(np.floor(train_fraction * len(labels)))
  num_rest = len(labels) - num_train
  if counts.min() < 2:
    number = classes[counts.argmin()]
    name = number if names is None else names[number]
    return f"class {name} has a single example and cannot be in both parts"
  if min(num_train, num_rest) < len(classes):
    return f"{num_train} + {num_rest} examples are too few for {len(classes)} classes"
  return ""


def holdout_split(
  labels: np.ndarray, *, train_fraction: float = 0.6, seed: int = 48
) -> tuple[np.ndarray, np.ndarray]:
  """Splits examples in two with the same share of every class.

  Draws exactly what scikit-learn's `StratifiedShuffleSplit(train_size=train_fraction,
  random_state=seed)` draws first, so that the published hold-out can be reproduced.

  Args:
    labels: classes `[examples]`.
    train_fraction: share of the first part, in (0, 1).
    seed: seed of the shuffle.

  Returns:
    Indices of the first and of the second part, each in random order.

  Raises:
    ValueError: a class has a single example, or a part would be smaller than the number of classes.
  """
  if reason := cannot_hold_out(labels, train_fraction=train_fraction):
    raise ValueError(f"holdout_split: {reason}; pass a validation split, or drop the class.")
  classes, positions, counts = np.unique(labels, return_inverse=True, return_counts=True)
  num_train = int(np.floor(train_fraction * len(labels)))
  num_rest = len(labels) - num_train
  random = np.random.RandomState(seed)
  train_counts = _proportional_counts(counts, num_train, random)
  rest_counts = _proportional_counts(counts - train_counts, num_rest, random)
  train, rest = [], []
  for c in range(len(classes)):
    members = random.permutation(counts[c])
    members = np.flatnonzero(positions == c)[members]
    train.append(members[: train_counts[c]])
    rest.append(members[train_counts[c] : train_counts[c] + rest_counts[c]])
  return random.permutation(np.concatenate(train)), random.permutation(np.concatenate(rest))


class Rows(NamedTuple):
  """Examples of a search: costs are fitted on some and compared on others, the last fit is on `final`."""

  features: np.ndarray
  labels: np.ndarray
  fit_on: np.ndarray  # bool[examples]
  score_on: np.ndarray  # indices, or bool[examples]
  final: np.ndarray  # bool[examples]


def arrange(
  train: Split,
  validation: Split | None,
  protocol: str,
  hold_out: Callable[[np.ndarray], np.ndarray],
) -> Rows:
  """Arranges a search's examples; without `validation` a part of `train`, `hold_out(labels)`, chooses.

  The last fit is then on all of `train`; else on `train`, under `paper` on `validation` too.
  """
  if validation is None:
    score_on = hold_out(train.labels)
    fit_on = np.ones(len(train.labels), bool)
    fit_on[score_on] = False
    return Rows(train.features, train.labels, fit_on, score_on, np.ones(len(fit_on), bool))
  features, labels = (np.concatenate(parts) for parts in zip(train, validation, strict=True))
  fit_on = np.arange(len(labels)) < len(train.labels)
  return Rows(features, labels, fit_on, ~fit_on, fit_on | (protocol == "paper"))


def evaluate(
  train: Split,
  test: Split,
  validation: Split | None = None,
  *,
  num_classes: int,
  protocol: str = "clean",
  search: str = "fine",
  keep: Callable[[logistic.LinearClassifier], None] | None = None,
) -> dict[str, float]:
  """Chooses the cost, fits the probe and scores it once on the test split.

  The cost maximises macro accuracy on `validation`, fitted on `train`. Without `validation` a
  stratified 40 % of `train` is held out for it (`holdout_split`) and the probe is then fitted again
  on all of `train`. With `validation`, `paper` fits again on train + validation as published;
  `clean` keeps the fit on `train`, so that nothing the cost was chosen on is learned from.

  Args:
    train: features `[train, dim]` and labels of the probe's training split.
    test: features `[test, dim]` and labels; not looked at before the last fit is done.
    validation: features `[validation, dim]` and labels, or None.
    num_classes: number of classes.
    protocol: `paper` (norm penalty) or `clean` (squared penalty, default).
    search: `fine` or `coarse`, see `search_cost`.
    keep: called with the probe that is scored; None: nobody needs it.

  Returns:
    `macro_accuracy` (the published "acc1"), its 95 % interval `macro_accuracy_low` and
    `macro_accuracy_high`, `accuracy`, of more than five classes `top5_accuracy`, `auroc` (NaN if the
    test split has one class only), fractions; the chosen `cost`; and `converged`, 1 or
    0: whether the solver reached its tolerance (under `paper` it may not: the published one stops after
    100 iterations).

  Raises:
    ValueError: a split does not fit (it is named), or `protocol` or `search` is unknown.

  Source: docs/spec/infmasking.md 9.
  """
  if protocol not in PENALTIES:
    raise ValueError(f"evaluate: unknown protocol {protocol!r}, expected 'paper' or 'clean'.")
  train, test, validation = _check(train, test, validation, num_classes)
  features, labels, fit_on, score_on, final = arrange(
    train, validation, protocol, lambda labels: holdout_split(labels)[1]
  )
  problem = logistic.Problem(features, labels, num_classes=num_classes, penalty=PENALTIES[protocol])
  # The squared penalty has one minimum, whatever the start; the published path starts from 0.
  warm, fitted = protocol == "clean", {}

  def score(cost):
    fitted[cost] = problem.fit(cost, valid=fit_on, warm=warm)
    return metrics.macro_accuracy(fitted[cost].predictions[score_on], labels[score_on])

  cost = search_cost(score, search=search).cost
  # Where nothing is fitted on more, the classifier that was chosen is the one that is scored.
  refit = not np.array_equal(final, fit_on)
  chosen = problem.fit(cost, valid=final, warm=warm) if refit else fitted[cost]
  if protocol == "clean" and not chosen.converged:
    logger.warning(
      "linear probe: C = %g: not converged after %d iterations; its scores may change with the solver",
      cost,
      chosen.num_iterations,
    )
  if keep is not None:
    keep(chosen)
  scores = _scores(chosen.logits(test.features), test.labels)
  return {**scores, "cost": cost, "converged": float(chosen.converged)}


def evaluate_tasks(
  train: Split,
  test: Split,
  validation: Split | None = None,
  *,
  num_classes: Mapping[str, int],
  protocol: str = "clean",
  search: str = "fine",
  fitted: Callable[[], None] | None = None,
  keep: Keep | None = None,
) -> dict[str, np.ndarray]:
  """Evaluates several tasks on the embeddings of several seeds, see `evaluate`.

  Fits of one task share their compilation over seeds and costs.

  Args:
    train: features `[trials, train, dim]` (or `[train, dim]`) and task name -> labels `[train]`.
    test: the same for the test split.
    validation: the same for the validation split, or None.
    num_classes: task name -> number of classes; decides which tasks are evaluated.
    protocol: `paper` or `clean`.
    search: `fine` or `coarse`.
    fitted: called when a task of a seed is done.
    keep: called with a task and the probe of a seed, in the order of the seeds.

  Returns:
    `"<task>/<metric>"` -> one value per seed `[trials]`; `"<metric>"` of all tasks together is left
    to the caller.

  Raises:
    ValueError: a task has no labels in a split, the splits differ in seeds, or as for `evaluate`.
  """
  splits = {"train": train, "test": test, "validation": validation}
  return over_tasks(
    splits,
    num_classes,
    lambda task, one, classes: evaluate(
      **one,
      num_classes=classes,
      protocol=protocol,
      search=search,
      keep=keep and functools.partial(keep, task),
    ),
    fitted,
  )


def over_tasks(
  splits: Mapping[str, Split | None],
  tasks: Mapping[str, int],
  evaluate_one: Callable[[str, Mapping[str, Split], int], Mapping[str, float]],
  fitted: Callable[[], None] | None = None,
) -> dict[str, np.ndarray]:
  """Evaluates every task for every seed.

  Args:
    splits: name -> features `[trials, examples, dim]` (or `[examples, dim]`) and task name -> labels;
      None: left out.
    tasks: task name -> its size, handed on.
    evaluate_one: (task, its splits of one seed, size) -> metric -> value.
    fitted: called when a task of a seed is done.

  Returns:
    `"<task>/<metric>"` -> `[trials]`.

  Raises:
    ValueError: a task has no labels in a split, or the splits differ in seeds.
  """
  stacked = {}
  for name, split in splits.items():
    if split is not None:
      missing = sorted(set(tasks) - set(split.labels))
      if missing:
        raise ValueError(
          f"evaluate_tasks: the {name} split has no labels for {missing}, only for "
          f"{sorted(split.labels)}."
        )
      features = np.asarray(split.features)
      stacked[name] = features if features.ndim == 3 else features[None]
  seeds = {name: len(features) for name, features in stacked.items()}
  if len(set(seeds.values())) > 1:
    raise ValueError(f"evaluate_tasks: the splits differ in their number of seeds: {seeds}.")
  results: dict[str, list] = {}
  for task, size in tasks.items():
    for seed in range(seeds["train"]):
      one = {name: Split(x[seed], splits[name].labels[task]) for name, x in stacked.items()}
      for metric, value in evaluate_one(task, one, size).items():
        results.setdefault(f"{task}/{metric}", []).append(value)
      if fitted is not None:
        fitted()
  return {name: np.asarray(values) for name, values in results.items()}


def _check(train, test, validation, num_classes) -> tuple[Split, Split, Split | None]:
  """The splits as NumPy arrays, after checks that name the offending split."""
  splits, dim = [], None
  for name, split in ("train", train), ("test", test), ("validation", validation):
    if split is not None:
      split = Split(*logistic.check_examples(name, *split, num_classes=num_classes, dim=dim))
      dim = split.features.shape[1]
    splits.append(split)
  return tuple(splits)


def top_accuracy(logits: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Returns "top5_accuracy" of logits [examples, classes]; {} of five classes or fewer: it is 1."""
  if logits.shape[1] <= _TOP:
    return {}
  return {f"top{_TOP}_accuracy": metrics.top_k_accuracy(logits, labels, k=_TOP)}


def _scores(logits, labels) -> dict[str, float]:
  """All metrics of one task."""
  predictions = logits.argmax(1)
  one_class = np.all(labels == labels[0])
  return {
    **metrics.accuracies(predictions, labels),
    **top_accuracy(logits, labels),
    "auroc": np.nan if one_class else metrics.auroc(metrics.probabilities(logits), labels),
  }


def _proportional_counts(counts, num_draws, random) -> np.ndarray:
  """Shares draws in proportion, rounded down; the rest go to the largest remainders at random."""
  exact = counts / counts.sum() * num_draws
  shares = np.floor(exact)
  left = int(num_draws - shares.sum())
  remainders = exact - shares
  for remainder in np.unique(remainders)[::-1]:
    if left <= 0:
      break
    (tied,) = np.nonzero(remainders == remainder)
    chosen = random.choice(tied, size=min(len(tied), left), replace=False)
    shares[chosen] += 1
    left -= len(chosen)
  return shares.astype(int)
