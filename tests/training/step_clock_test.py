from synjax.training import step_clock


def test_the_clock_counts_only_what_lies_between_restart_and_stop(monkeypatch):
  times = iter([0.0, 10.0, 16.0, 30.0, 100.0, 101.0, 200.0])
  monkeypatch.setattr(step_clock.time, "monotonic", lambda: next(times))
  clock = step_clock.StepClock()  # 0
  assert clock.seconds_per_step is None
  clock.restart(4)  # 10: the first call is over
  clock.stop(7)  # 16: 6 seconds, 3 steps (and 30: the restart in it)
  clock.restart(7)  # 100: an evaluation is over
  clock.stop(8)  # 101: 1 second, 1 step
  assert clock.seconds_per_step == 7 / 4
