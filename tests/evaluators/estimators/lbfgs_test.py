"""L-BFGS against least squares, the two loops of the textbook in NumPy, and the Wolfe conditions."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from synjax.evaluators.estimators import lbfgs


class LeastSquares(NamedTuple):
  """|X theta - y|^2 / 2 of theta `[1, dim]`; its margins are the residuals."""

  features: np.ndarray
  targets: np.ndarray
  squared: bool

  def margins(self, theta):
    return theta @ self.features.T - self.targets

  def gradient(self, theta, margins):
    return margins @ self.features

  def along(self, theta, margins, direction):
    change = direction @ self.features.T

    def value_and_slope(t):
      moved = margins + t * change
      return (moved**2).sum() / 2, (moved * change).sum()

    return change, value_and_slope


def start(objective, dim, history):
  zero, pairs = jnp.zeros((1, dim)), jnp.zeros((history, dim))
  margins = objective.margins(zero)
  return lbfgs.State(
    zero, margins, (margins**2).sum() / 2, zero, zero, pairs, pairs,
    scale=jnp.ones(()), iterations=0, evaluations=1, stalls=0, done=False, converged=False,
  )  # fmt: skip


@functools.partial(jax.jit, static_argnums=2)
def iterate(features, targets, squared, limits, state):
  return lbfgs.iterate(LeastSquares(features, targets, squared), jnp.ones(()), limits, state)


def problem(squared=True):
  rng = np.random.default_rng(0)
  features = rng.normal(size=(30, 6)) * np.geomspace(1, 0.03, 6)  # of the Hessian: 1 to 1,000
  return LeastSquares(features, rng.normal(size=(1, 30)), squared)


@pytest.mark.parametrize("squared", [True, False])
def test_the_end_is_the_solution_of_the_normal_equations(x64, squared):
  objective = problem(squared)
  state, values = start(objective, 6, history=10), []
  while not state.done:
    state = iterate(*objective, (1e-12, 1e-13, 1000), state)
    values.append(float(state.value))
  expected = np.linalg.lstsq(objective.features, objective.targets[0])[0]
  np.testing.assert_allclose(state.theta[0], expected, rtol=3e-5)
  assert state.converged and state.iterations == len(values) < 60  # scipy's L-BFGS-B takes 30
  assert (np.diff(values) <= 1e-12).all()
  # Margins and value are carried along, not computed anew: they are those of where it is.
  np.testing.assert_allclose(state.margins, objective.margins(np.asarray(state.theta)), atol=1e-10)
  residual = objective.features @ expected - objective.targets[0]
  np.testing.assert_allclose(state.value, residual @ residual / 2, rtol=1e-10)


def test_an_end_for_lack_of_evaluations_is_not_called_converged(x64):
  objective = problem()
  state = iterate(*objective, (0.0, 1e-13, 2), start(objective, 6, history=10))
  assert state.done and not state.converged and state.evaluations >= 2


def two_loops(gradient, steps, changes, initial):
  """Algorithm 7.4 of Nocedal and Wright; pairs with the oldest first."""
  q, alphas = gradient.copy(), []
  pairs = [(s, y) for s, y in zip(steps, changes, strict=True) if s.any()]
  for s, y in reversed(pairs):
    alphas.append(s @ q / (s @ y))
    q -= alphas[-1] * y
  r = initial * q
  for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
    r += s * (alpha - y @ r / (s @ y))
  return -r


@pytest.mark.parametrize("made", [0, 1, 3, 5])
def test_a_direction_is_that_of_the_two_loops_also_while_the_memory_fills(x64, made):
  rng = np.random.default_rng(made)
  root = rng.normal(size=(8, 8))
  steps = rng.normal(size=(5, 8)) * (np.arange(5) >= 5 - made)[:, None]
  changes = steps @ (root @ root.T + np.eye(8))  # of a convex quadratic: curvature is positive
  gradient, preconditioner = rng.normal(size=8), rng.uniform(0.5, 2, size=8)
  state = start(LeastSquares(np.eye(8), np.zeros((1, 8)), True), 8, 5)._replace(
    gradient=gradient[None], steps=steps, changes=changes, scale=0.3
  )
  found = lbfgs._direction(state, preconditioner)
  expected = two_loops(gradient, steps, changes, 0.3 * preconditioner)
  np.testing.assert_allclose(found[0], expected, rtol=1e-9, atol=1e-10)
  if made:  # the secant equation: the change of the newest step is taken back to that step
    back = lbfgs._direction(state._replace(gradient=-changes[-1:]), preconditioner)
    np.testing.assert_allclose(back[0], steps[-1], rtol=1e-8, atol=1e-9)


def test_a_step_without_curvature_is_not_remembered(x64):
  memory = np.arange(6.0).reshape(3, 2)
  state = start(LeastSquares(np.eye(2), np.zeros((1, 2)), True), 2, 3)._replace(
    steps=memory, changes=2 * memory, step=np.array([[1.0, 2.0]])
  )
  preconditioner = np.array([0.5, 2.0])
  kept = lbfgs._remember(state, np.array([[3.0, 1.0]]), preconditioner)
  np.testing.assert_array_equal(kept.steps, [*memory[1:], [1, 2]])
  np.testing.assert_array_equal(kept.changes, [*2 * memory[1:], [3, 1]])
  np.testing.assert_allclose(kept.scale, (3 + 2) / (0.5 * 9 + 2 * 1))  # s y / y P y
  left = lbfgs._remember(state, np.array([[-3.0, 1.0]]), preconditioner)
  np.testing.assert_array_equal(left.steps, memory)
  np.testing.assert_array_equal(left.gradient, [[-3, 1]])
  assert left.scale == 1


LINES = {  # the first and the third are of More and Thuente, 1994, with a far and a flat minimum
  "a far minimum": lambda t: -t / (t**2 + 2),
  "a steep wall": lambda t: jnp.exp(3 * t) - 20 * t,
  "a flat minimum": lambda t: (t + 0.004) ** 5 - 2 * (t + 0.004) ** 4,
  "many minima": lambda t: (t - 3) ** 2 + jnp.sin(9 * t) / 2,
}


@pytest.mark.parametrize("name", LINES)
def test_a_line_search_ends_with_the_strong_wolfe_conditions_from_every_first_trial(x64, name):
  line = LINES[name]
  value_and_slope = jax.value_and_grad(line)
  value, slope = value_and_slope(0.0)
  search = jax.jit(lambda first: lbfgs._line_search(value_and_slope, value, slope, first, 1e-12))
  for first in (1e-3, 0.1, 1.0, 10.0):
    t, found, trials = search(first)
    reached, steepness = value_and_slope(t)
    assert t > 0 and trials < 26, first
    np.testing.assert_allclose(found, reached, rtol=1e-12)
    assert reached <= value + 1e-4 * t * slope, first
    assert abs(steepness) <= 0.9 * abs(slope), first


def test_a_line_search_stays_where_nothing_lies_lower(x64):
  rising = lambda t: (1.0 + t, jnp.ones(()))  # noqa: E731 - as rounding may make it at a minimum
  t, value, trials = lbfgs._line_search(rising, jnp.ones(()), jnp.array(-1e-9), jnp.ones(()), 1e-6)
  assert t == 0 and value == 1 and trials < 26


def test_the_minimum_of_a_cubic_is_found_from_any_two_points_and_only_where_it_is(x64):
  cubic = lambda t: jnp.array([t, t**3 - 3 * t, 3 * t**2 - 3])  # noqa: E731 - least at 1
  for a, b in ((-0.5, 3.0), (0.2, 0.9), (4.0, 2.0), (-3.0, 0.0)):
    np.testing.assert_allclose(lbfgs._cubic_minimum(cubic(a), cubic(b)), 1, rtol=1e-12)
  rising = lambda t: jnp.array([t, t**3 + t, 3 * t**2 + 1])  # noqa: E731
  assert np.isnan(lbfgs._cubic_minimum(rising(-1.0), rising(2.0)))
