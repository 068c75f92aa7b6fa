"""Multinomial logistic regression on frozen embeddings, prepared once for all costs.

The solver under `linear`. The squared penalty is Newton's method in float64 where a Hessian is cheap;
larger problems and the published penalty take one L-BFGS, whose cost is a traced scalar and whose fit on
some of the examples is the fit on all of them with the others not `valid`: a search compiles once.
"""

import copy
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg

from synjax.evaluators.estimators import lbfgs, newton

_MAX_ITERATIONS = {"norm": 100, "squared": 1000}


class LinearClassifier(NamedTuple):
  """A fitted linear classifier.

  Attributes:
    weight: W, `[classes, dim]`; float64 with the squared penalty.
    bias: b, `[classes]`, likewise.
    loss: value of the objective, penalty included, nats.
    num_iterations: L-BFGS iterations and Newton steps made.
    converged: whether the solver's tolerance was reached, and not its limit of iterations; of Newton's
      method that of the float64 gradient, see `newton.minimize`.
    predictions: predicted classes of all examples of the problem, valid or not, `[examples]`.
  """

  weight: np.ndarray
  bias: np.ndarray
  loss: float
  num_iterations: int
  converged: bool
  predictions: np.ndarray

  def logits(self, features: np.ndarray) -> np.ndarray:
    """Returns `features @ weight.T + bias`, `[examples, classes]`, for `[examples, dim]`."""
    return features @ self.weight.T + self.bias


def fit(
  features: np.ndarray,
  labels: np.ndarray,
  *,
  cost: float,
  num_classes: int,
  penalty: str = "squared",
  valid: np.ndarray | None = None,
  max_iterations: int | None = None,
) -> LinearClassifier:
  """Fits multinomial logistic regression on all examples at once, from W = 0, b = 0.

  Minimises, over the N valid examples and with an unpenalised bias (CE in nats):

  * `squared`: `mean CE + |W|^2 / (2 C N)`, the objective of scikit-learn's `LogisticRegression(C)`
    divided by C N. As there, two classes have one weight vector w = W_1 - W_0 and the penalty
    `|w|^2 / (2 C N)`, which is `2 |W|^2 / (2 C N)` since W_1 = -W_0 at the minimum.
  * `norm`: `mean CE + |W| / (2 C)`, the Frobenius norm NOT squared, as published. Its gradient at
    W = 0 is taken as 0; with a small C the line search then finds no descent and stays at 0.

  `squared` has one minimum: the features are centred and rotated to their principal axes, which changes
  neither the objective nor its minimum, and `newton.minimize` finds it in float64, whatever the start,
  where `examples * parameters^2` is at most `newton.WORK`. Larger problems take L-BFGS in float32 from a
  diagonal bound of the Hessian; it ends when neither the expected nor, three times in a row, the actual
  decrease is more than 2 roundings of the objective. Features are NOT standardised: the penalty is on
  weights of features as they are.
  `norm` follows the published solver step by step, since that stops before the minimum: memory of
  100, unit trial step, strong Wolfe line search with c1 = 1e-4 and c2 = 0.9, tolerance 1e-7 on the
  gradient and 1e-9 on changes.

  Args:
    features: `[examples, dim]`. `norm` computes in float32, or in float64 if they are float64 and
      x64 is on.
    labels: classes `[examples]`, in [0, num_classes).
    cost: C, positive; larger = less regularisation.
    num_classes: number of classes, at least 2.
    penalty: `squared` or `norm`.
    valid: bool `[examples]`, True = fit on this example; None = all.
    max_iterations: limit of L-BFGS iterations and of Newton steps; None: 100 for `norm`, as published,
      and 1,000 for `squared`.

  Returns:
    The classifier, as NumPy arrays.

  Raises:
    ValueError: shapes do not fit, features are not finite, labels are out of range or of one class
      only, `cost` is not positive, or `penalty` is unknown.

  Source: docs/spec/infmasking.md 9; J. Nocedal and S. Wright, Numerical Optimization, 2nd ed.,
  algorithms 3.5, 3.6 and 7.4; D. Boehning, Multinomial logistic regression algorithm, 1992.
  """
  features, labels = check_examples("train", features, labels, num_classes=num_classes)
  problem = Problem(features, labels, num_classes=num_classes, penalty=penalty)
  return problem.fit(cost, valid=valid, max_iterations=max_iterations)


class Problem:
  """Examples prepared once (rotated for `squared`; on the device for L-BFGS) to be fitted at many costs.

  Args:
    features: `[examples, dim]`.
    labels: classes `[examples]`, in [0, num_classes).
    num_classes: number of classes.
    penalty: `squared` or `norm`, see `fit`; ValueError if it is another.
  """

  def __init__(
    self, features: np.ndarray, labels: np.ndarray, *, num_classes: int, penalty: str
  ) -> None:
    if penalty not in ("squared", "norm"):
      raise ValueError(f"unknown penalty {penalty!r}, expected 'squared' or 'norm'.")
    examples, dim = features.shape
    self._labels = labels
    self._num_classes = num_classes
    self._dtype = features.dtype
    self._axes = self._features = None
    self._zero = self._last = np.zeros((num_classes, dim + 1))
    curvature = np.ones(dim + 1)
    if penalty == "squared":
      self._axes, features = _principal_axes(features)
      curvature = np.append(np.square(features).mean(0), 1.0)
      self._zero = self._last = np.zeros((num_classes, len(curvature)))
    # The bias is the weight of a constant feature.
    self._rows = np.concatenate([features, np.ones((examples, 1), features.dtype)], axis=1)
    self._selected = None, None
    self._penalty = penalty
    self._exactly = penalty == "squared" and examples * self._zero.size**2 <= newton.WORK
    if not self._exactly:
      self._features = jax.device_put(self._rows.astype(self._dtype))
      self._curvature = jax.device_put(curvature.astype(self._dtype))

  def with_labels(self, labels: np.ndarray) -> "Problem":
    """Returns the problem of the same examples with other labels: what is prepared is shared."""
    other = copy.copy(self)
    other._labels, other._last = labels, other._zero
    return other

  def fit(
    self,
    cost: float,
    *,
    valid: np.ndarray | None = None,
    warm: bool = False,
    max_iterations: int | None = None,
  ) -> LinearClassifier:
    """Fits at one cost.

    Args:
      cost: C, positive.
      valid: as for the function `fit`.
      warm: start from the last converged fit of this problem instead of 0, faster with the squared
        penalty.
      max_iterations: as for the function `fit`.
    """
    max_iterations = max_iterations or _MAX_ITERATIONS[self._penalty]
    valid = self._checked(cost, valid)
    start = self._last if warm else self._zero
    solve = self._exact if self._exactly else self._quick
    theta, loss, iterations, converged = solve(cost, valid, start, max_iterations)
    if converged:
      self._last = theta
    predictions = (self._rows @ theta.T).argmax(1)
    weight, bias = theta[:, :-1], theta[:, -1]
    if self._axes is not None:
      mean, basis = self._axes
      weight = weight @ basis.T
      bias = bias - weight @ mean
    return LinearClassifier(weight, bias, loss, iterations, converged, predictions)

  def _checked(self, cost, valid) -> np.ndarray:
    """`valid` as an array, all True if None."""
    if not cost > 0:
      raise ValueError(f"the cost C of a linear probe must be positive, got {cost}.")
    valid = np.ones(len(self._labels), bool) if valid is None else np.asarray(valid, bool)
    if valid.shape != self._labels.shape:
      raise ValueError(f"valid must be {self._labels.shape} like the labels, got {valid.shape}.")
    classes = np.unique(self._labels[valid])
    if len(classes) < 2:
      raise ValueError(
        f"a linear probe needs training examples of at least two classes, found only {classes}."
      )
    return valid

  def _quick(self, cost, valid, start, max_iterations) -> newton.Solution:
    """L-BFGS on the device, in the features' precision."""
    theta, value, iterations, converged = _minimize(
      self._features,
      self._labels,
      valid,
      self._curvature,
      np.asarray(cost, self._dtype),
      start.astype(self._dtype),
      num_classes=self._num_classes,
      penalty=self._penalty,
      max_iterations=max_iterations,
    )
    return newton.Solution(np.asarray(theta), float(value), int(iterations), bool(converged))

  def _exact(self, cost, valid, start, max_iterations) -> newton.Solution:
    """Newton's method in float64."""
    if self._selected[0] is None or not np.array_equal(self._selected[0], valid):
      self._selected = valid, self._rows if valid.all() else self._rows[valid]
    return newton.minimize(
      self._selected[1],
      self._labels[valid],
      start,
      strength=(2 if self._num_classes == 2 else 1) / (float(cost) * valid.sum()),
      max_iterations=max_iterations,
    )


def _principal_axes(features) -> tuple[tuple[np.ndarray, np.ndarray], np.ndarray]:
  """Mean `[dim]` and axes `[dim, rank]` of features, and these along them, float64.

  Where there are fewer examples than features, only the axes that the examples span are kept: the
  weight on others is 0 at the minimum.
  """
  wide = features.astype(np.float64)
  # Exactly: the mean of equal numbers is rounded, and a large weight would reach what is left.
  constant = (wide == wide[0]).all(0)
  mean = np.where(constant, wide[0], wide.mean(0))
  wide -= mean
  span = None
  if len(wide) < wide.shape[1]:
    span, triangle = scipy.linalg.qr(wide.T, mode="economic")
    wide = triangle.T
  _, basis = scipy.linalg.eigh(wide.T @ wide / len(wide), driver="evd")
  rotated = wide @ basis
  return (mean, basis if span is None else span @ basis), rotated


def check_examples(
  split: str,
  features: np.ndarray,
  labels: np.ndarray,
  *,
  num_classes: int,
  dim: int | None = None,
) -> tuple[np.ndarray, np.ndarray]:
  """Returns features as float32 (float64 if they are and x64 is on), labels as int32, NumPy.

  Args:
    split: name of the split, for messages.
    features: `[examples, dim]`.
    labels: classes `[examples]`.
    num_classes: number of classes.
    dim: width the features must have, or None.

  Raises:
    ValueError: shapes do not fit, features are not finite, or labels are not integers in
      [0, num_classes).
  """
  features, labels = np.asarray(features), np.asarray(labels)
  if features.ndim != 2 or features.shape[:1] != labels.shape or not len(labels):
    raise ValueError(
      f"{split} split: expected features [examples, dim] and labels [examples], not empty, got "
      f"{features.shape} and {labels.shape}."
    )
  if dim is not None and features.shape[1] != dim:
    raise ValueError(
      f"{split} split: features have width {features.shape[1]}, those of the train split {dim}."
    )
  wide = features.dtype == np.float64 and jax.config.jax_enable_x64
  features = features.astype(np.float64 if wide else np.float32)
  finite = np.isfinite(features).all(1)
  if not finite.all():
    raise ValueError(
      f"{split} split: {np.sum(~finite)} of {len(features)} examples have NaN or infinite features "
      f"(the first: example {np.argmin(finite)}); check the encoder."
    )
  if not np.issubdtype(labels.dtype, np.integer):
    raise ValueError(f"{split} split: labels must be integers, got {labels.dtype}.")
  if num_classes < 2 or labels.min() < 0 or labels.max() >= num_classes:
    raise ValueError(
      f"{split} split: labels must be in [0, num_classes) with num_classes = {num_classes} of at "
      f"least 2, found {labels.min()}..{labels.max()}."
    )
  return features, labels.astype(np.int32)


class _Objective(NamedTuple):
  """Mean CE plus penalty of theta = [W, b], `[classes, dim + 1]`, on the valid examples."""

  features: jax.Array  # [examples, dim + 1], the last one is 1
  onehot: jax.Array  # of the labels, [classes, examples]
  valid: jax.Array  # 1 or 0, [examples]
  count: jax.Array  # N
  squared: bool
  strength: jax.Array  # of |W|^2 / 2 if squared, else of |W|

  def mean(self, values) -> jax.Array:
    """Mean over the valid examples, divided last: the mean of equal values is nearly exact."""
    return (values * self.valid).sum() / self.count

  def penalized(self, theta) -> jax.Array:
    """W with a column of zeros in place of b."""
    return jnp.where(jnp.arange(theta.shape[1]) < theta.shape[1] - 1, theta, 0)

  def penalty(self, square) -> tuple[jax.Array, jax.Array]:
    """Penalty and its derivative by |W|^2 = square; that of the norm is taken as 0 at 0."""
    if self.squared:
      return self.strength / 2 * square, self.strength / 2
    positive = square > 0
    norm = jnp.sqrt(jnp.where(positive, square, 1))
    value, slope = self.strength * norm, self.strength / (2 * norm)
    return jnp.where(positive, value, 0), jnp.where(positive, slope, 0)

  def margins(self, theta) -> jax.Array:
    """Logits minus the logit of the label, `[classes, examples]`."""
    logits = lbfgs.matmul(theta, self.features.T)
    return logits - jnp.where(self.onehot, logits, 0).sum(0)

  def losses(self, margins) -> tuple[jax.Array, jax.Array]:
    """Cross-entropies `[examples]`, and the other classes' probabilities `[classes, examples]`.

    A cross-entropy near 0 keeps its relative accuracy, as log1p of the others' share; as the logarithm
    of a number near 1 it would be rounding, which at a large C is more than the whole objective.
    """
    highest = margins.max(0)  # at least 0, the label's own
    others = jnp.where(self.onehot, 0, jnp.exp(margins - highest))
    excess = jnp.expm1(-highest) + others.sum(0)
    return highest + jnp.log1p(excess), others / (1 + excess)

  def gradient(self, theta, margins) -> jax.Array:
    _, others = self.losses(margins)
    # The label's own p - 1 is minus the sum of the others: no difference of numbers near 1.
    error = jnp.where(self.onehot, -others.sum(0), others) * (self.valid / self.count)
    weight = self.penalized(theta)
    _, slope = self.penalty(lbfgs.products_of(weight)[0, 0])
    return lbfgs.matmul(error, self.features) + 2 * slope * weight

  def along(self, theta, margins, direction):
    """Returns margins of `direction`, and t -> value and slope at `theta + t * direction`.

    Loss and penalty on a line are known from one product with the features: trials are cheap.
    """
    change = self.margins(direction)
    products = lbfgs.products_of(self.penalized(theta), self.penalized(direction))
    squares = products[0, 0], 2 * products[0, 1], products[1, 1]

    def value_and_slope(t):
      losses, others = self.losses(margins + t * change)
      loss = self.mean(losses)
      slope = self.mean((others * change).sum(0))
      penalty, by_square = self.penalty(squares[0] + t * (squares[1] + t * squares[2]))
      return loss + penalty, slope + by_square * (squares[1] + 2 * t * squares[2])

    return change, value_and_slope


@functools.partial(jax.jit, static_argnames=("num_classes", "penalty", "max_iterations"))
def _minimize(
  features, labels, valid, curvature, cost, theta, *, num_classes, penalty, max_iterations
) -> tuple[jax.Array, ...]:
  """Returns theta, the objective there, iterations, and whether it converged."""
  dtype = features.dtype
  valid = valid.astype(dtype)
  count = valid.sum()
  onehot = labels == jnp.arange(num_classes)[:, None]
  if penalty == "squared":
    strength = (2 if num_classes == 2 else 1) / (cost * count)
    # The Hessian of the mean CE is at most covariance / 2, and covariance / classes at W = 0.
    hessian = (curvature / num_classes + strength).at[-1].set(1 / num_classes)
    eps = float(jnp.finfo(dtype).eps)
    preconditioner = 1 / (hessian + 10 * eps * curvature.max())
    history, limits = 20, (0.0, 2 * eps, 25 * max_iterations)
  else:
    strength, preconditioner = 0.5 / cost, jnp.ones((), dtype)
    history, limits = 100, (1e-7, 1e-9, max_iterations * 5 // 4)
  objective = _Objective(features, onehot, valid, count, penalty == "squared", strength)
  weight, margins = objective.penalized(theta), objective.margins(theta)
  value = objective.mean(objective.losses(margins)[0])
  value += objective.penalty(lbfgs.products_of(weight)[0, 0])[0]
  pairs = jnp.zeros((history, theta.size), dtype)
  state = lbfgs.State(
    theta, margins, value, jnp.zeros_like(theta), jnp.zeros_like(theta), pairs, pairs,
    scale=jnp.ones((), dtype), iterations=0, evaluations=1, stalls=0, done=False, converged=False,
  )  # fmt: skip
  state = jax.lax.while_loop(
    lambda state: ~state.done & (state.iterations < max_iterations),
    functools.partial(lbfgs.iterate, objective, preconditioner, limits),
    state,
  )
  return state.theta, state.value, state.iterations, state.converged
