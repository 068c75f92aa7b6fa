"""Calls of steps that add up what they gather, so that NumPy knows every number."""

import types

import jax.numpy as jnp
import numpy as np
import pytest

from synjax import parallel, trial
from synjax.data import pipeline
from synjax.training import stepper
from synjax.training.frozen_params import FrozenParams

VALUES = np.arange(12, dtype=np.float32)
LENGTHS = np.array([1, 2, 2, 1, 4, 3, 1, 2, 2, 1, 4, 4])
STEPS_PER_CALL = 3


def add_up(state, arrays, index, trial, axis, length, shared_step):
  del trial, axis
  found = arrays["value"][index].sum()
  metrics = {"sum": found, "length": jnp.float32(length or 0), "step": shared_step}
  return {"total": state["total"] + found}, metrics


def make(padding, mode="jit", num_trials=2):
  devices = parallel.Devices(mode, 1)
  split = pipeline.Split({"value": VALUES}, len(VALUES), {}, lengths=LENGTHS)
  found = stepper.Stepper(
    add_up,
    types.SimpleNamespace(train=split, padding=padding),
    devices,
    STEPS_PER_CALL,
    trial.Trial(seed=np.arange(num_trials, dtype=np.uint32), hyper={}),
    (devices.place({"value": VALUES}), {}),
  )
  found.place({"total": np.zeros(num_trials, np.float32)})
  return found, devices


INDEX = np.array([[[0, 3], [1, 2], [4, 5]], [[6, 7], [8, 9], [10, 11]]], np.int32)


@pytest.mark.parametrize("mode", parallel.MODES)
def test_only_the_asked_steps_are_done_and_a_stopped_trial_stays_as_it_is(mode):
  found, devices = make(pipeline.Padding(), mode)
  metrics, compiled = found.advance(INDEX, [{}], np.array([True, False]), range(5, 7))
  assert compiled
  sums = VALUES[INDEX].sum(axis=-1)
  metrics = devices.fetch(metrics)
  np.testing.assert_array_equal(metrics["sum"][:, :2], sums[:, :2])
  np.testing.assert_array_equal(metrics["step"][:, :2], [[5, 6]] * 2)
  np.testing.assert_array_equal(devices.fetch(found.state)["total"], [sums[0, :2].sum(), 0])
  _, compiled = found.advance(INDEX, [{}], np.array([True, True]), range(7, 10))
  assert not compiled  # one program for every number of steps
  expected = [sums[0, :2].sum() + sums[0].sum(), sums[1].sum()]
  np.testing.assert_array_equal(devices.fetch(found.state)["total"], expected)
  assert found.program_bytes is not None


def test_each_trial_has_its_own_length_and_a_call_ends_where_one_changes():
  found, devices = make(pipeline.Padding("bucket", (2, 4)))
  assert found.same_shape(INDEX) == 2  # lengths 2, 2, 4 and 2, 2, 4
  metrics, _ = found.advance(INDEX, [{}, {}], np.array([True, True]), range(2))
  metrics = devices.fetch(metrics)
  np.testing.assert_array_equal(metrics["length"][:, :2], [[2, 2], [2, 2]])
  np.testing.assert_array_equal(metrics["sum"][:, :2], VALUES[INDEX].sum(axis=-1)[:, :2])
  mixed = INDEX[:, [0, 2, 1]].copy()
  mixed[0] = INDEX[0, [0, 1, 2]]
  assert found.same_shape(mixed) == 1  # 2, 2, 4 and 2, 4, 2: the second trial's changes first
  last = INDEX[:, 2:].repeat(STEPS_PER_CALL, axis=1)
  found.advance(last, [{}, {}], np.array([True, True]), range(2, 3))
  assert set(found.programs) == {2, 4}
  np.testing.assert_array_equal(devices.fetch(found.state)["total"], VALUES[INDEX].sum(axis=(1, 2)))


@pytest.mark.parametrize("mode", parallel.MODES)
def test_trials_that_step_one_by_one_share_what_is_frozen_for_all(mode):
  found, devices = make(pipeline.Padding("bucket", (2, 4)), mode)
  own = {"w": np.arange(6.0, dtype=np.float32).reshape(2, 3)}
  found.freeze(FrozenParams({"tower": np.ones(3, np.float32)}, own))
  first, second = found._frozen
  assert first.shared["tower"] is second.shared["tower"]
  for i, part in enumerate((first, second)):
    np.testing.assert_array_equal(devices.fetch(part.own)["w"], own["w"][i : i + 1])
  whole = devices.fetch(found.frozen)
  np.testing.assert_array_equal(whole.own["w"], own["w"])
  assert whole.shared["tower"].shape == (3,)
  found.freeze(FrozenParams())
  assert not found.frozen
