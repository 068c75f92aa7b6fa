"""Newton's method in float64 on the host for logistic regression with a squared penalty.

The float32 solver cannot tell the minimum from a flat direction; this one ends where the float64
gradient is small, measured so that units of the features do not matter.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg

_TOLERANCE = 1e-4  # of relative errors of weights and logits
_ROUNDING = 64 * np.finfo(np.float64).eps
WORK = 1e9  # examples * parameters^2, of one Hessian, up to which this takes a fraction of a second


class Solution(NamedTuple):
  """Where Newton's method ended.

  Attributes:
    theta: [W, b], `[classes, dim + 1]`.
    value: the objective there, nats.
    iterations: Newton steps made.
    converged: whether the gradient is small, see `minimize`.
  """

  theta: np.ndarray
  value: float
  iterations: int
  converged: bool


class _Point(NamedTuple):
  """The objective at a theta."""

  theta: np.ndarray
  value: float
  gradient: np.ndarray  # [classes, dim + 1]
  probabilities: np.ndarray  # [examples, classes]
  error: np.ndarray  # probabilities minus one-hot labels


def minimize(
  features: np.ndarray,
  labels: np.ndarray,
  start: np.ndarray,
  *,
  strength: float,
  max_iterations: int,
) -> Solution:
  """Minimises `mean CE + strength |W|^2 / 2` over theta = [W, b].

  Steps are H^-1 g by Cholesky, shortened until the objective falls. Converged means, with g the gradient
  and v the mean variance of a label:

  * `|g_W| <= 1e-4 strength |W|`. The objective being strongly convex in W, then W is within 1e-4 |W|
    of the minimum. (Or g_W is all rounding: effectively no penalty.)
  * `sum_j |g_j|^2 / h_j <= (1e-4)^2 v * (mean square of the logits' spread)`, h_j the curvature along
    feature j: no feature, however small or large its unit, would change logits by more.

  Args:
    features: float64 `[examples, dim + 1]`, the last one 1, the others near their principal axes.
    labels: classes `[examples]`.
    start: theta `[classes, dim + 1]` to begin at.
    strength: factor of |W|^2 / 2, positive.
    max_iterations: limit of Newton steps.

  Source: J. Nocedal and S. Wright, Numerical Optimization, 2nd ed., algorithm 3.2.
  """
  problem = _Problem(features, labels, len(start), strength)
  point = problem.at(start)
  for iteration in range(max_iterations + 1):
    converged = problem.converged(point)
    if converged or iteration == max_iterations:
      break
    lower = problem.search(point, problem.newton_step(point))
    if lower is None:
      break
    point = lower
  return Solution(point.theta, point.value, iteration, converged)


class _Problem:
  """The objective, its derivatives, and steps that lower it."""

  def __init__(self, features, labels, num_classes, strength):
    self._features = features
    self._chosen = np.arange(len(labels)), labels
    self._curvature = np.einsum("nd,nd->d", features, features) / len(features)
    self._strength = np.full(features.shape[1], strength)
    self._strength[-1] = 0
    self._num_classes = num_classes

  def at(self, theta) -> _Point:
    """Evaluates at theta; cross-entropies near 0 keep their relative accuracy."""
    logits = self._features @ theta.T
    margins = logits - logits[self._chosen][:, None]
    highest = margins.max(1, keepdims=True)
    others = np.exp(margins - highest)
    others[self._chosen] = 0
    excess = np.expm1(-highest) + others.sum(1, keepdims=True)
    error = others / (1 + excess)
    probabilities = error.copy()
    probabilities[self._chosen] = (np.exp(-highest) / (1 + excess))[:, 0]
    # The label's own p - 1 is minus the sum of the others: no difference of numbers near 1.
    error[self._chosen] = -error.sum(1)
    value = np.mean(highest + np.log1p(excess)) + (self._strength * theta**2).sum() / 2
    gradient = error.T @ self._features / len(error) + self._strength * theta
    return _Point(theta, value, gradient, probabilities, error)

  def converged(self, point) -> bool:
    """Whether the gradient is small, see `minimize`."""
    weight, gradient = point.theta[:, :-1], point.gradient[:, :-1]
    rounding = np.sqrt(np.mean(point.error**2, 0)[:, None] * self._curvature[:-1])
    allowed = _TOLERANCE * np.linalg.norm(self._strength[:-1] * weight)
    small = np.linalg.norm(gradient) <= allowed + _ROUNDING * np.linalg.norm(rounding)
    variance = self._variance(point)
    spread = variance * (self._curvature[:-1] * weight**2).sum()
    decrement = (point.gradient**2 / self._diagonal(point)).sum()
    return bool(small and decrement <= _TOLERANCE**2 * spread + _ROUNDING**2)

  def _variance(self, point) -> float:
    return max(np.mean(point.probabilities * (1 - point.probabilities)), np.finfo(float).tiny)

  def _diagonal(self, point) -> np.ndarray:
    """The Hessian's diagonal, as if the features did not go with the certainty, `[dim + 1]`."""
    return self._curvature * self._variance(point) + self._strength

  def search(self, point, step) -> _Point | None:
    """Halves the step until the objective falls enough; None: it does not."""
    slope = (point.gradient * step).sum()
    if slope >= 0:
      return None
    for halvings in range(30):
      t = 0.5**halvings
      with np.errstate(over="ignore", invalid="ignore"):  # too long a step is refused below
        new = self.at(point.theta + t * step)
      if new.value <= point.value * (1 + _ROUNDING) + 1e-4 * t * slope:
        return new
    return None

  def newton_step(self, point) -> np.ndarray:
    """-H^-1 g by a Cholesky decomposition of all of H."""
    width, classes = self._features.shape[1], self._num_classes
    hessian = np.empty((classes, width, classes, width))
    for a in range(classes):
      for b in range(a + 1):
        shares = point.probabilities[:, a] * ((a == b) - point.probabilities[:, b])
        if a == b:  # 1 - p without a difference of numbers near 1
          rest = np.delete(point.probabilities, a, 1).sum(1)
          shares = point.probabilities[:, a] * rest
        block = (self._features * shares[:, None]).T @ self._features / len(shares)
        hessian[a, :, b] = block
        hessian[b, :, a] = block.T
    every = np.arange(classes)
    hessian[every, :, every] += np.diag(self._strength)
    # A bias common to all classes changes nothing; this makes it 0 instead of undetermined.
    hessian[:, -1, :, -1] += hessian[every, -1, every, -1].mean()
    matrix = hessian.reshape(classes * width, -1)
    scale = 1 / np.sqrt(np.maximum(np.diag(matrix), np.finfo(float).tiny))
    matrix = matrix * scale * scale[:, None]
    right = -point.gradient.ravel() * scale
    for jitter in (0, 1e-15, 1e-13, 1e-11, 1e-8, 1e-4):
      matrix[np.diag_indices_from(matrix)] = 1 + jitter
      try:
        factor = scipy.linalg.cho_factor(matrix, lower=True, check_finite=False)
      except np.linalg.LinAlgError:
        continue
      return (scale * scipy.linalg.cho_solve(factor, right)).reshape(classes, width)
    return -point.gradient / self._diagonal(point)
