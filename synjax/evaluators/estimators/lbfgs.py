"""L-BFGS inside compiled code, with a line search that knows the objective along a line.

An objective has `squared`, `gradient(theta, margins)` and `along(theta, margins, direction)`, see
`logistic`.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Accelerators would otherwise round the factors to fewer bits than float32 has.
matmul = functools.partial(jnp.matmul, precision=jax.lax.Precision.HIGHEST)


class State(NamedTuple):
  """L-BFGS state; vectors are flat thetas, the memory has its oldest pair first, zeros if none."""

  theta: jax.Array
  margins: jax.Array
  value: jax.Array
  step: jax.Array  # last change of theta
  gradient: jax.Array  # at the theta before it
  steps: jax.Array  # [history, classes * (dim + 1)]
  changes: jax.Array  # of the gradient over these steps, likewise
  scale: jax.Array  # of the first estimate of the inverse Hessian
  iterations: jax.Array
  evaluations: jax.Array
  stalls: jax.Array  # iterations in a row that changed next to nothing
  done: jax.Array
  converged: jax.Array


def iterate(objective, preconditioner, limits, state) -> State:
  """One L-BFGS iteration: gradient, memory, direction, line search."""
  gradient_tolerance, tolerance, max_evaluations = limits
  # `squared`: relative to the objective, which is arbitrarily small where classes are separable.
  of_value, of_step = tolerance, tolerance
  if objective.squared:
    of_value, of_step = tolerance * state.value, tolerance * jnp.abs(state.theta).max()
  gradient = objective.gradient(state.theta, state.margins)
  state = _remember(state, gradient, preconditioner)
  direction = _direction(state, preconditioner)
  change, value_and_slope = objective.along(state.theta, state.margins, direction)
  slope = products_of(gradient, direction)[0, 1]
  steepest, largest = jnp.abs(jnp.stack([gradient, direction])).max((1, 2))
  first = jnp.ones_like(slope)
  if not objective.squared:
    first = jnp.where(state.iterations == 0, jnp.minimum(1, 1 / jnp.abs(gradient).sum()), first)
  t, value, trials = _line_search(value_and_slope, state.value, slope, first, of_step / largest)
  converged = (steepest <= gradient_tolerance) | (slope > -of_value)
  stalled = (t * largest <= of_step) | (jnp.abs(value - state.value) < of_value)
  stalls = jnp.where(stalled, state.stalls + 1, 0)
  stalled = stalls >= (3 if objective.squared else 1)  # one short step is no end
  t = jnp.where(converged, 0, t)
  evaluations = state.evaluations + trials
  return state._replace(
    theta=state.theta + t * direction,
    margins=state.margins + t * change,
    value=jnp.where(converged, state.value, value),
    step=t * direction,
    iterations=state.iterations + 1,
    evaluations=evaluations,
    stalls=stalls,
    done=converged | stalled | (evaluations >= max_evaluations),
    converged=converged | stalled,
  )


def _remember(state, gradient, preconditioner) -> State:
  """Adds the last step and its change of gradient to the memory if the curvature is positive."""
  change = gradient - state.gradient
  products = products_of(state.step, change, preconditioner * change)
  accept = products[0, 1] > 1e-10

  def push(memory, new):
    return jnp.where(accept, jnp.concatenate([memory[1:], new.reshape(1, -1)]), memory)

  return state._replace(
    gradient=gradient,
    steps=push(state.steps, state.step),
    changes=push(state.changes, change),
    scale=jnp.where(accept, products[0, 1] / products[1, 2], state.scale),
  )


def _direction(state, preconditioner) -> jax.Array:
  """Minus the inverse Hessian estimate times the gradient.

  The two loops of the usual recursion, over the pairs and back, are two triangular systems.
  """
  products = matmul(state.steps, state.changes.T)
  order = jnp.arange(len(products))
  diagonal, later = order[:, None] == order, order[:, None] <= order
  own = jnp.where(diagonal, products, 0).sum(1)
  # Ones for pairs not made yet keep the triangle invertible.
  triangle = jnp.where(diagonal & (products == 0), 1, jnp.where(later, products, 0))
  solve = functools.partial(jax.scipy.linalg.solve_triangular, triangle)
  alphas = solve(-matmul(state.steps, state.gradient.ravel()))
  vector = -state.gradient - matmul(alphas, state.changes).reshape(state.gradient.shape)
  vector = state.scale * preconditioner * vector
  rest = solve(own * alphas - matmul(state.changes, vector.ravel()), trans=1)
  return vector + matmul(rest, state.steps).reshape(vector.shape)


def products_of(*vectors) -> jax.Array:
  """Inner products of all pairs of arrays."""
  rows = jnp.stack([vector.ravel() for vector in vectors])
  return matmul(rows, rows.T)


def _line_search(objective, value, slope, first, min_width, *, max_trials=26):
  """Finds a step with the strong Wolfe conditions; returns step, value and number of trials.

  Points are [t, value, slope]. `low` is the best that decreases enough; the step lies between it
  and `high`, at infinity until a point beyond is found. Trials are minima of the cubic through two
  points, pushed off an end of the interval when twice too near it. The step is 0 at worst.
  """

  def body(carry):
    low, high, t, near, _, trials = carry
    new = jnp.stack([t, *objective(t)])
    too_high = ~(new[1] <= value + 1e-4 * t * slope) | (new[1] >= low[1])
    accept = ~too_high & (jnp.abs(new[2]) <= -0.9 * slope)
    crossed = new[2] * (high[0] - low[0]) >= 0
    keep_low = too_high & ~(new[1] < low[1])
    high = jnp.where(too_high, jnp.where(keep_low, new, low), jnp.where(crossed, low, high))
    previous, low = low, jnp.where(keep_low, low, new)
    open_end = jnp.isinf(high[0])
    other = jnp.where(open_end, previous, high)
    left, right = jnp.minimum(low[0], other[0]), jnp.maximum(low[0], other[0])
    lower = jnp.where(open_end, right + 0.01 * (right - left), left)
    upper = jnp.where(open_end, 10 * right, right)
    t = _cubic_minimum(other, low)
    t = jnp.where(jnp.isnan(t), (lower + upper) / 2, jnp.clip(t, lower, upper))
    margin = 0.1 * (right - left)
    was_near, near = near, ~open_end & (jnp.minimum(right - t, t - left) < margin)
    push = near & (was_near | (t >= right) | (t <= left))
    t = jnp.where(push, jnp.where(right - t < t - left, right - margin, left + margin), t)
    done = accept | (~open_end & (right - left < min_width))
    return low, high, t, near & ~push, done, trials + 1

  zero = jnp.zeros_like(value)
  low = jnp.stack([zero, value, slope])
  high = jnp.stack([zero + jnp.inf, zero, zero])
  carry = low, high, first, False, False, 0
  low, _, _, _, _, trials = jax.lax.while_loop(lambda c: ~c[4] & (c[5] < max_trials), body, carry)
  return low[0], low[1], trials


def _cubic_minimum(a, b) -> jax.Array:
  """Minimiser of the cubic through two points [t, value, slope], NaN if it has none."""
  mean_slope = a[2] + b[2] - 3 * (a[1] - b[1]) / (a[0] - b[0])
  root = jnp.sign(b[0] - a[0]) * jnp.sqrt(mean_slope * mean_slope - a[2] * b[2])
  return b[0] - (b[0] - a[0]) * (b[2] + root - mean_slope) / (b[2] - a[2] + 2 * root)
