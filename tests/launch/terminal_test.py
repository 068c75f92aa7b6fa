"""Lines at a terminal: above the bar, and none missing for long."""

import io
import logging
import sys
import types

import tqdm

from launch import terminal


def make_logger(name):
  logger = logging.getLogger(name)
  logger.setLevel(logging.INFO)
  logger.propagate = False
  return logger


def test_a_line_stands_above_the_bar_and_the_bar_is_drawn_again():
  stream, logger = io.StringIO(), make_logger("terminal_test.bar")
  handler = terminal.Handler(stream)
  logger.addHandler(handler)
  with tqdm.tqdm(total=10, file=stream, mininterval=0) as bar:
    bar.update(5)
    logger.info("step 5 of 10")
  logger.removeHandler(handler)
  lines = [part for line in stream.getvalue().split("\n") for part in line.split("\r")]
  assert "step 5 of 10" in lines  # a whole line of its own, nothing of the bar before or behind it
  after = stream.getvalue().partition("step 5 of 10\n")[2]
  assert "5/10" in after


def test_before_ten_silent_seconds_are_over_it_is_said_what_goes_on_and_again():
  stream, logger, now, moved = io.StringIO(), make_logger("terminal_test.beat"), [0.0], [None]
  logger.addHandler(logging.StreamHandler(stream))
  beat = terminal.Heartbeat(logger, clock=lambda: now[0], moved=lambda: moved[0])
  logger.addHandler(beat)
  said = []

  def at(seconds):
    now[0] = seconds
    beat.look()
    said.append(stream.getvalue().splitlines()[-1:])

  logger.info("compiling the training step ...")
  for seconds in (8, 9, 15, 18):
    at(seconds)
  line = ["compiling the training step ..."]
  beats = [[f"still at it after {n} s: compiling the training step"] for n in (9, 18)]
  assert said == [line, beats[0], beats[0], beats[1]]
  moved[0] = 3  # a bar that moves says enough
  at(32)
  assert said[-1] == beats[1]
  at(42)
  assert said[-1] == ["still at it after 42 s: compiling the training step"]


def test_bars_that_are_just_being_imported_are_none_yet(monkeypatch):
  monkeypatch.setitem(sys.modules, "tqdm", types.ModuleType("tqdm"))  # half way: without its names
  assert terminal._bar_position() is None


def test_a_bar_that_is_just_being_made_is_none_yet():
  made = tqdm.tqdm.__new__(tqdm.tqdm)  # in the set of bars, without what its __init__ sets
  try:
    assert made in tqdm.tqdm._instances
    assert terminal._bar_position() is None  # once the end of the thread that looks on
  finally:
    tqdm.tqdm._instances.discard(made)
