import types

import numpy as np
import pytest

from synjax.training import step_metrics


def test_calls_are_joined_without_the_room_that_they_did_not_use():
  devices = types.SimpleNamespace(fetch=lambda tree: tree)
  calls = [
    (range(5, 7), {"loss": np.array([[1, 2, 99], [4, 5, 99]])}),
    (range(7, 8), {"loss": np.array([[3, 99, 99], [6, 99, 99]])}),
  ]
  steps, metrics = step_metrics.collect(devices, calls)
  assert steps == range(5, 8)
  np.testing.assert_array_equal(metrics["loss"], [[1, 2, 3], [4, 5, 6]])


def test_a_phase_that_did_not_run_neither_stops_the_run_nor_enters_a_mean():
  nan = np.nan
  metrics = {
    "inner/loss": np.array([[1.0, 3.0]]),
    "outer/loss": np.array([[nan, 5.0]]),
    "outer/active": np.array([[0.0, 1.0]]),
  }
  step_metrics.check_finite(metrics, range(2), ["0"], [True], "folder", advice="Try less.")
  means = step_metrics.average(metrics)
  np.testing.assert_allclose([means["inner/loss"][0], means["outer/loss"][0]], [2, 5])
  metrics["outer/loss"][0, 1] = np.inf
  with pytest.raises(FloatingPointError, match="step 1.*outer/loss = inf.*Try less"):
    step_metrics.check_finite(metrics, range(2), ["0"], [True], "folder", advice="Try less.")


def test_what_is_not_finite_is_blamed_on_its_trial():
  loss = np.array([[1.0, 1.0, 2.0], [1.0, np.nan, 2.0], [1.0, 2.0, np.nan]])
  names = ["0, optim.lr=0.001", "0, optim.lr=10", "1, optim.lr=0.001"]
  with pytest.raises(
    step_metrics.NotFinite, match="step 8: .*seed 0, optim.lr=10: loss = n"
  ) as found:
    step_metrics.check_finite({"loss": loss}, range(7, 10), names, [True] * 3, "folder", advice="")
  assert list(found.value.trials) == [1]  # the third is fine until the step after
  assert "0.001" not in str(found.value)


def test_a_metric_that_a_trial_never_had_is_not_zero_because_a_neighbour_had_it():
  found = step_metrics.average(
    {"ntk/strength/a": np.array([[np.nan, np.nan], [1.0, np.nan]]), "loss": np.ones((2, 2))},
    ("ntk/",),
  )
  np.testing.assert_array_equal(found["ntk/strength/a"], [np.nan, 1])
  np.testing.assert_array_equal(found["loss"], [1, 1])
