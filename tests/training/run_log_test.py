import dataclasses
import logging
import time
import types

import jax.numpy as jnp
import numpy as np
import pytest
from jax import monitoring

from synjax import parallel, train, trial
from synjax.training import optim, run_log, step_clock
from synjax.workdir.metrics import read_metrics
from tests import tiny

SEEDS = np.array([3, 4])


def make_run(folder, unlogged=None, remarks=()):
  """What the log asks of a run of two trials that stands at step 4 of 10."""
  return types.SimpleNamespace(
    config=tiny.get_config(),
    workdir=folder,
    seeds=SEEDS,
    trials=trial.Trial(seed=SEEDS, hyper={}),
    step=4,
    durations=optim.Durations(steps_per_epoch=5, total=10, log=3, eval=5, checkpoint=5),
    devices=parallel.Devices("jit", 1),
    selection=types.SimpleNamespace(active=np.array([True, True])),
    checkpointer=types.SimpleNamespace(unlogged=unlogged or {}, folder=folder / "checkpoints"),
    clock=step_clock.StepClock(),
    method=types.SimpleNamespace(
      remarks=lambda means, epoch: remarks, learns_from_labels=False, fuses=True
    ),
    evaluators=(),
    select_metric="-val/score/mse",
  )


def advance(run, log, values):
  """Does steps with these losses; calls have room for two more."""
  run.step += len(values)
  losses = jnp.array([[*values, np.nan, np.nan]] * 2, jnp.float32)
  log.queue({"loss": losses * jnp.array([[1.0], [2.0]])})


def test_a_row_is_the_mean_over_its_steps_also_over_those_before_a_stop(tmp_path):
  run = make_run(tmp_path, {"loss": np.array([[8.0], [16.0]], np.float32)})
  with run_log.RunLog(run) as log:
    advance(run, log, [2, 3])
    advance(run, log, [7])
    assert [steps for steps, _ in log.queued] == [range(3, 4), range(4, 6), range(6, 7)]
    np.testing.assert_array_equal(log.unwritten()["loss"], [[8, 2, 3, 7], [16, 4, 6, 14]])
    log.write_steps()
    assert log.queued == [] and log.unwritten() == {} and log.steps == 3
    advance(run, log, [1])
    log.write_steps()
  rows = read_metrics(tmp_path / "metrics.jsonl")
  found = [(row["step"], row["seed"], row["train/loss"]) for row in rows]
  assert found == [(7, 3, 5.0), (7, 4, 10.0), (8, 3, 1.0), (8, 4, 2.0)]


def test_a_loss_that_is_not_finite_is_in_no_row_unless_its_trial_has_stopped(tmp_path):
  run = make_run(tmp_path)
  with run_log.RunLog(run) as log:
    run.step = 5
    log.queue({"loss": jnp.array([[1.0], [np.inf]])})
    with pytest.raises(FloatingPointError, match=r"step 4: .*seed 4: loss = inf"):
      log.write_steps()
    assert not (tmp_path / "metrics.jsonl").exists()
    run.selection.active[1] = False
    log.write_steps()
  assert len(read_metrics(tmp_path / "metrics.jsonl")) == 2


def test_a_remark_is_said_once(tmp_path, caplog):
  run = make_run(tmp_path, remarks=("the gates are all open",))
  with run_log.RunLog(run) as log:
    for _ in range(2):
      advance(run, log, [1])
      log.write_steps()
  assert caplog.text.count("the gates are all open") == 1


def test_what_a_method_has_switched_off_is_said_at_the_start(tmp_path, caplog):
  run = make_run(tmp_path)
  run.dataset = types.SimpleNamespace(facts={})
  run.start_remarks = lambda: ("the regulariser is off",)
  run_log.announce(run, None)
  (record,) = [r for r in caplog.records if r.message == "the regulariser is off"]
  assert record.levelname == "WARNING"


@pytest.mark.parametrize(("asked", "said"), [("", "table"), ("series", "series")])
def test_the_one_modality_that_is_trained_is_said_at_the_start(tmp_path, caplog, asked, said):
  with tiny.registered():
    config = tiny.get_config("unimodal", **{"method.modality": asked})
    run = train.Run(config, tmp_path)
  caplog.set_level("INFO", "synjax")
  run_log.announce(run, None)
  assert f"the modality that is trained, config.method.modality: {said}" in caplog.text


def test_the_metric_that_selects_is_said_first(tmp_path, caplog):
  caplog.set_level(logging.INFO, "synjax")
  scores = {
    "val/a/macro_accuracy": np.array([0.5, 0.7]),
    "val/a/auc": np.array([0.1, 0.2]),
    "val/score/mse": np.array([1.0, 2.0]),
  }
  with run_log.RunLog(make_run(tmp_path)) as log:
    log.write_scores(scores)
  assert "step 4: val/score/mse 1.500, val/a/macro_accuracy 0.600" in caplog.text
  assert [row["val/a/auc"] for row in read_metrics(tmp_path / "metrics.jsonl")] == [0.1, 0.2]


@pytest.mark.parametrize(
  ("fields", "said"),
  [
    ({"method.ramp": "linear"}, "method.ramp=linear runs over the whole length: the first 5 steps"),
    (
      {"optim.schedule": "warmup_cosine", "method.ramp": "constant"},
      "optim.schedule=warmup_cosine",
    ),
    ({"method.ramp": "constant"}, "no schedule depends on the length"),
  ],
)
def test_a_schedule_over_the_whole_length_is_named_when_a_run_becomes_longer(
  tmp_path, caplog, fields, said
):
  with tiny.registered():
    run = train.Run(tiny.get_config(**fields), tmp_path)
  run.selection, run.step = run._initial["selection"], 5
  caplog.set_level("INFO", "synjax")
  run_log.announce(run, 10)
  assert said in caplog.text


def test_the_time_left_is_of_steps_and_evaluations_without_compilations(
  tmp_path, monkeypatch, caplog
):
  """Of a run that continues: what is compiled first, a longer sequence later, and an evaluation."""
  caplog.set_level(logging.INFO, "synjax")
  now = [0.0]
  monkeypatch.setattr(time, "monotonic", lambda: now[0])
  run = make_run(tmp_path)
  run.clock = step_clock.StepClock()
  run.step, run.durations = 100, dataclasses.replace(run.durations, total=150, eval=20)

  def take(seconds, compiling=0.0):
    now[0] += seconds
    monitoring.record_event_duration_secs("/jax/core/compile/backend_compile_duration", compiling)

  with run_log.RunLog(run) as log:
    run.step += 10
    take(65.0, compiling=60.0)
    assert log._seconds_left() == pytest.approx(40 * 5 / 10)
    run.clock.restart(run.step)
    run.step += 10
    take(4.0)
    run.clock.stop(run.step)
    assert log._seconds_left() == pytest.approx(30 * 0.4)
    with log.evaluating():
      take(37.0, compiling=30.0)
    # Evaluations are left at 140 and at the end, 150.
    assert log._seconds_left() == pytest.approx(30 * 0.4 + 2 * 7)
    log._say_progress(1.0)
  assert "2.5 steps/s, 26 s left, then the test scores" in caplog.text
  assert "validating at step 120 ..." in caplog.text
