"""Ridge probe of frozen embeddings: linear regression, its alpha chosen by the squared error.

Runs on the embeddings of whole splits beside the linear probe, for tasks whose labels are numbers.
Two protocols:

    protocol  alpha chosen on                     last fit on
    paper     validation, or 20 % of train        train + validation, or all of train
    clean     validation, or 20 % of train        train, or all of train

Computed in float64 on the host from second moments: they add up over parts of the examples, and one
eigendecomposition gives the fits of all alphas.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg

from synjax.evaluators.estimators import metrics
from synjax.evaluators.estimators.linear import Keep, Split, over_tasks

ALPHAS = (1e-6, 1e-4, 1e-2, 1.0, 1e2, 1e4, 1e6)
PROTOCOLS = ("paper", "clean")
METRICS = ("mse", "mse_low", "mse_high", "mse_1e4", "r2", "pearson")  # of `score`
_CHUNK = 8192  # examples that are float64 at a time


class Moments(NamedTuple):
  """Sufficient statistics of a ridge regression, float64.

  Attributes:
    count: number of examples n.
    feature_mean: `[dim]`.
    label_mean: `[outputs]`.
    covariance: `sum_i (x_i - mean) (x_i - mean)'`, `[dim, dim]`; not divided by n.
    cross: `sum_i (x_i - mean) (y_i - mean)'`, `[dim, outputs]`; not divided by n.
  """

  count: int
  feature_mean: np.ndarray
  label_mean: np.ndarray
  covariance: np.ndarray
  cross: np.ndarray

  def __add__(self, other: "Moments") -> "Moments":
    """Returns the moments of the examples of both, as from one pass over all of them."""
    count = self.count + other.count
    share = other.count / count
    feature_gap = other.feature_mean - self.feature_mean
    label_gap = other.label_mean - self.label_mean
    weight = self.count * share
    return Moments(
      count,
      self.feature_mean + share * feature_gap,
      self.label_mean + share * label_gap,
      self.covariance + other.covariance + weight * np.outer(feature_gap, feature_gap),
      self.cross + other.cross + weight * np.outer(feature_gap, label_gap),
    )


class LinearRegression(NamedTuple):
  """A fitted linear map, float64.

  Attributes:
    weight: W, `[outputs, dim]`.
    bias: b, `[outputs]`.
  """

  weight: np.ndarray
  bias: np.ndarray

  def predict(self, features: np.ndarray) -> np.ndarray:
    """Returns `features @ weight.T + bias`, float64 `[examples, outputs]`."""
    chunks = np.split(features, range(_CHUNK, len(features), _CHUNK))
    return np.concatenate([chunk @ self.weight.T for chunk in chunks]) + self.bias


def moments(features: np.ndarray, labels: np.ndarray) -> Moments:
  """Computes the moments of features `[examples, dim]` and labels `[examples, outputs]`."""
  count, dim = features.shape
  feature_mean = features.mean(0, dtype=np.float64)
  label_mean = labels.mean(0, dtype=np.float64)
  covariance, cross = np.zeros((dim, dim)), np.zeros((dim, labels.shape[1]))
  for start in range(0, count, _CHUNK):
    centred = features[start : start + _CHUNK] - feature_mean
    covariance += centred.T @ centred
    cross += centred.T @ (labels[start : start + _CHUNK] - label_mean)
  return Moments(count, feature_mean, label_mean, covariance, cross)


def fit(examples: Moments, alphas: Sequence[float]) -> list[LinearRegression]:
  """Fits ridge regression in closed form, all alphas by one eigendecomposition.

  Minimises `sum_i |y_i - W x_i - b|^2 + alpha |W|^2` with an unpenalised bias: W' = (S + alpha I)^-1 T
  for the centred moments S (`covariance`) and T (`cross`). As alpha grows, W goes to 0 and the
  prediction to the mean label. Features are NOT standardised. An alpha below 1e-12 of the largest
  eigenvalue of S shows rounding errors in directions without variance: S holds squares. (An SVD of
  the features does not, but takes 9.5 s instead of 0.4 s for 100,000 x 512.)

  Args:
    examples: `moments` of the training examples.
    alphas: positive; larger = more regularisation.

  Returns:
    One fit for each alpha.

  Raises:
    ValueError: an alpha is not positive.

  Source: docs/spec/infmasking.md 9; the objective of scikit-learn's `Ridge(alpha)`.
  """
  if not all(alpha > 0 for alpha in alphas):
    raise ValueError(f"fit: expected positive alphas, found {tuple(alphas)}.")
  curvature, basis = scipy.linalg.eigh(examples.covariance, driver="evd")
  rotated = basis.T @ examples.cross
  fits = []
  for alpha in alphas:
    # Rounding may leave a direction without variance slightly below zero.
    weight = (basis @ (rotated / (np.maximum(curvature, 0) + alpha)[:, None])).T
    fits.append(LinearRegression(weight, examples.label_mean - weight @ examples.feature_mean))
  return fits


def cannot_hold_out(num_examples: int, *, train_fraction: float = 0.8) -> str:
  """Says why `holdout_split` cannot split so many examples; "": it can."""
  num_train = int(np.floor(train_fraction * num_examples))
  if 0 < num_train < num_examples:
    return ""
  return f"{num_examples} examples cannot be split into {num_train} + {num_examples - num_train}"


def holdout_split(
  num_examples: int, *, train_fraction: float = 0.8, seed: int = 48
) -> tuple[np.ndarray, np.ndarray]:
  """Splits examples in two at random.

  Draws exactly what scikit-learn's `ShuffleSplit(train_size=train_fraction, random_state=seed)` draws
  first, so that the published hold-out can be reproduced.

  Args:
    num_examples: how many there are.
    train_fraction: share of the first part, in (0, 1).
    seed: seed of the shuffle.

  Returns:
    Indices of the first and of the second part, each in random order.

  Raises:
    ValueError: a part would be empty.
  """
  if reason := cannot_hold_out(num_examples, train_fraction=train_fraction):
    raise ValueError(f"holdout_split: {reason}; pass a validation split, or more examples.")
  num_rest = num_examples - int(np.floor(train_fraction * num_examples))
  order = np.random.RandomState(seed).permutation(num_examples)
  return order[num_rest:], order[:num_rest]


def evaluate(
  train: Split,
  test: Split,
  validation: Split | None = None,
  *,
  num_outputs: int,
  protocol: str = "clean",
  keep: Callable[[LinearRegression], None] | None = None,
) -> dict[str, float]:
  """Chooses alpha, fits the probe and scores it once on the test split.

  Of 1e-6, 1e-4, ..., 1e6 the first alpha with the smallest squared error, summed over outputs, is
  chosen on `validation`, fitted on `train`. Without `validation` 20 % of `train` is held out for it
  (`holdout_split`) and the probe is then fitted again on all of `train`. With `validation`, `paper`
  fits again on train + validation as published; `clean` keeps the fit on `train`, so that nothing
  alpha was chosen on is learned from.

  Args:
    train: features `[train, dim]` and labels `[train, outputs]` of the probe's training split.
    test: features `[test, dim]` and labels; not looked at before the last fit is done.
    validation: features `[validation, dim]` and labels, or None.
    num_outputs: number of outputs.
    protocol: `paper` or `clean` (default).
    keep: called with the probe that is scored; None: nobody needs it.

  Returns:
    The scores of `score`; `mean_mse`, the `mse` of predicting the mean label of the last fit's
    examples (the trivial baseline); and the chosen `alpha`.

  Raises:
    ValueError: a split does not fit (it is named), or `protocol` is unknown.

  Source: docs/spec/infmasking.md 9 (V&T-EE). The published solver runs in float32.
  """
  if protocol not in PROTOCOLS:
    raise ValueError(f"evaluate: unknown protocol {protocol!r}, expected 'paper' or 'clean'.")
  train, test, validation = _check(train, test, validation, num_outputs)
  if validation is None:
    kept, held_out = (Split(*(a[part] for a in train)) for part in holdout_split(len(train.labels)))
    fit_on, choose_on = moments(*kept), held_out
    final = fit_on + moments(*held_out)
  else:
    fit_on, choose_on = moments(*train), validation
    final = fit_on + moments(*validation) if protocol == "paper" else fit_on
  fits = fit(fit_on, ALPHAS)
  errors = [np.square(f.predict(choose_on.features) - choose_on.labels).sum() for f in fits]
  best = int(np.argmin(errors))
  chosen = fits[best] if final is fit_on else fit(final, ALPHAS[best : best + 1])[0]
  if keep is not None:
    keep(chosen)
  return {
    **score(chosen.predict(test.features), test.labels),
    "mean_mse": float(np.mean(np.square(test.labels - final.label_mean))),
    "alpha": ALPHAS[best],
  }


def evaluate_tasks(
  train: Split,
  test: Split,
  validation: Split | None = None,
  *,
  num_outputs: Mapping[str, int],
  protocol: str = "clean",
  fitted: Callable[[], None] | None = None,
  keep: Keep | None = None,
) -> dict[str, np.ndarray]:
  """Evaluates several tasks on the embeddings of several seeds, see `evaluate`.

  Args:
    train: features `[trials, train, dim]` (or `[train, dim]`) and task name -> labels
      `[train, outputs]`.
    test: the same for the test split.
    validation: the same for the validation split, or None.
    num_outputs: task name -> number of outputs; decides which tasks are evaluated.
    protocol: `paper` or `clean`.
    fitted: called when a task of a seed is done.
    keep: called with a task and the probe of a seed, in the order of the seeds.

  Returns:
    `"<task>/<metric>"` -> one value per seed `[trials]`.

  Raises:
    ValueError: a task has no labels in a split, the splits differ in seeds, or as for `evaluate`.
  """
  splits = {"train": train, "test": test, "validation": validation}
  return over_tasks(
    splits,
    num_outputs,
    lambda task, one, outputs: evaluate(
      **one, num_outputs=outputs, protocol=protocol, keep=keep and functools.partial(keep, task)
    ),
    fitted,
  )


def score(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
  """Scores predictions of numbers.

  Args:
    predictions: `[examples, outputs]`.
    labels: `[examples, outputs]`.

  Returns:
    All as means over outputs. `mse`, mean squared error in squared units of the labels, its 95 %
    interval `mse_low` and `mse_high` (NaN with one example), and `mse_1e4` = mse x 1e4, the published
    unit; `r2`, one minus the squared error over that of the labels' own mean (1 is perfect, below 0
    is worse than that mean); `pearson`, the correlation, in [-1, 1]. The last two are NaN where
    labels or, for `pearson`, predictions of an output do not vary.

  The interval is normal, mse +- 1.96 std / sqrt(n) over examples and clipped at 0. It treats examples
  as independent, which makes it too narrow for frames of one recording, and does not contain the
  spread over training seeds.
  """
  squared = np.square(predictions - labels)
  of_example, count = squared.mean(1), len(labels)
  mse = float(of_example.mean())
  half_width = np.nan
  if count > 1:
    half_width = metrics.normal_quantile(0.975) * of_example.std(ddof=1) / np.sqrt(count)
  predicted_gap, predicted_norm = _centre(predictions)
  label_gap, label_norm = _centre(labels)
  pearson = (predicted_gap * label_gap).sum(0) / (predicted_norm * label_norm)
  return {
    "mse": mse,
    "mse_low": float(np.maximum(mse - half_width, 0)),
    "mse_high": float(mse + half_width),
    "mse_1e4": 1e4 * mse,
    "r2": float(np.mean(1 - squared.sum(0) / np.square(label_norm))),
    "pearson": float(np.mean(pearson)),
  }


def _centre(values) -> tuple[np.ndarray, np.ndarray]:
  """Values without their mean over examples, and their norm; NaN where only rounding is left."""
  mean = values.mean(0)
  centred = values - mean
  norm = np.linalg.norm(centred, axis=0)
  constant = norm <= 1e-13 * np.sqrt(len(values)) * np.abs(mean)
  return centred, np.where(constant, np.nan, norm)


def _check(train, test, validation, num_outputs) -> tuple[Split, Split, Split | None]:
  """The splits as NumPy arrays, labels in float64, after checks that name the offending split."""
  splits, dim = [], None
  for name, split in ("train", train), ("test", test), ("validation", validation):
    if split is not None:
      split = _check_examples(name, *split, num_outputs=num_outputs, dim=dim)
      dim = split.features.shape[1]
    splits.append(split)
  return tuple(splits)


def _check_examples(name, features, labels, *, num_outputs, dim) -> Split:
  features, labels = np.asarray(features), np.asarray(labels)
  if features.ndim != 2 or labels.shape != (len(features), num_outputs) or not labels.size:
    raise ValueError(
      f"{name} split: expected features [examples, dim] and labels [examples, {num_outputs}], not "
      f"empty, found {features.shape} and {labels.shape}."
    )
  if dim is not None and features.shape[1] != dim:
    raise ValueError(
      f"{name} split: features have width {features.shape[1]}, those of the train split {dim}."
    )
  for what, values in ("features", features), ("labels", labels):
    broken = ~np.isfinite(values).all(1)
    if broken.any():
      raise ValueError(
        f"{name} split: {broken.sum()} of {len(values)} {what} are not finite, the first in row "
        f"{broken.argmax()}."
      )
  dtype = np.float64 if features.dtype == np.float64 else np.float32
  return Split(features.astype(dtype, copy=False), labels.astype(np.float64))
