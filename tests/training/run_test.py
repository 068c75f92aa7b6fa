"""A run is built, moved, scored, saved and restored, without the loop around it."""

import types

import jax
import numpy as np
import pytest

from synjax.training import optim
from synjax.training.run import Run
from tests import tiny

CONFIG = {"total_steps": 6, "eval_steps": 2, "log_steps": 6, "checkpoint_steps": 6, "num_seeds": 2}


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
  """A run at its end, and what it was after each evaluation: (step, value, parameters)."""
  workdir, history = tmp_path_factory.mktemp("run"), []
  with tiny.registered():
    run = Run(tiny.get_config("supervised", **CONFIG), workdir).restore()
    while not run.finished():
      run.advance()
      value = run.evaluate()[run.select_metric]
      history.append((run.step, value, run.devices.fetch(run.state.params)))
    run.save({"loss": np.array([[0.5], [0.25]])})
    run.checkpointer.close()
  return run, history


@pytest.mark.whole_run
def test_a_call_ends_at_the_next_stop_and_compiling_is_no_part_of_a_step(moved):
  run, history = moved
  assert [step for step, _, _ in history] == [2, 4, 6]
  run.clock.stop(6)
  assert run.clock._steps == 4  # of 6: the first call was compiled


@pytest.mark.whole_run
def test_best_are_the_parameters_of_each_trials_best_evaluation(moved):
  run, history = moved
  best = np.argmax([value for _, value, _ in history], axis=0)  # the first of equal ones
  np.testing.assert_array_equal(run.steps_of("best"), [history[i][0] for i in best])
  np.testing.assert_array_equal(run.steps_of("last"), [6, 6])
  found = {which: run.devices.fetch(run.weights(which)[0]) for which in ("best", "last")}
  for trial, i in enumerate(best):
    for which, expected in (("best", history[i][2]), ("last", history[-1][2])):
      jax.tree.map(
        lambda a, b, t=trial: np.testing.assert_array_equal(a[t], b[t]), found[which], expected
      )
  with pytest.raises(ValueError, match="expected best or last, found 'first'"):
    run.weights("first")


@pytest.mark.whole_run
def test_what_was_saved_is_restored(moved):
  run, _ = moved
  with tiny.registered():
    again = Run(tiny.get_config("supervised", **CONFIG), run.workdir)
    assert again.step == 0
    again.restore(read_only=True)
  assert again.step == 6 and again.finished()
  states = [r.devices.fetch(r.state) for r in (run, again)]
  jax.tree.map(np.testing.assert_array_equal, *states)
  jax.tree.map(np.testing.assert_array_equal, run.selection, again.selection)
  np.testing.assert_array_equal(again.checkpointer.unlogged["loss"], [[0.5], [0.25]])
  again.checkpointer.close()


@pytest.mark.parametrize("step", range(1, 14))
def test_what_comes_after_a_step(step):
  durations = optim.Durations(steps_per_epoch=4, total=13, log=3, eval=5, checkpoint=6)
  run = types.SimpleNamespace(step=step, durations=durations)
  for name, steps in {"log": {3, 6, 9, 12}, "eval": {5, 10}, "checkpoint": {6, 12}}.items():
    assert Run.due(run, name) == (step in steps | {13})
  assert Run.due(run, "eval", "checkpoint") == (step in {5, 6, 10, 12, 13})


def test_an_epochs_end_comes_as_often_as_the_method_asks_and_stops_a_call():
  durations = optim.Durations(steps_per_epoch=3, total=18, log=18, eval=18, checkpoint=18)
  stops = [durations.next_stop(step, 16, every_epochs=2) for step in (0, 5, 6, 13)]
  assert stops == [6, 6, 12, 18]
  assert durations.next_stop(0, 16) == 16
  asked = []
  method = types.SimpleNamespace(epoch_end_every=2, epoch_end=lambda *_: None)

  class Reached(Exception):
    """The state was fetched: the epoch's end is due."""

  def fetch():
    raise Reached

  run = types.SimpleNamespace(
    durations=durations,
    method=method,
    devices=types.SimpleNamespace(fetch=lambda _: fetch()),
    state=None,
  )
  for run.step in range(1, 19):
    try:
      Run.end_epoch(run)
    except Reached:
      asked.append(run.step)
  assert asked == [6, 12]  # the last epoch has none


@pytest.mark.whole_run
def test_a_method_hears_of_the_length_and_of_the_shapes_of_what_is_trained(moved):
  run, _ = moved
  heard = []
  own = types.SimpleNamespace(start_remarks=lambda *given: heard.append(given) or ("said",))
  stand_in = types.SimpleNamespace(
    state=run.state, durations=run.durations, trials=run.trials, method=own
  )
  assert Run.start_remarks(stand_in) == ("said",)
  ((hyper, epochs, shapes),) = heard
  assert hyper is run.trials.hyper and epochs == 1  # 6 steps of 6
  assert shapes["encoders_table/layer1/kernel"] == (4, 8)
  assert run.start_remarks() == ()
