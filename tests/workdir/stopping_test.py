"""SIGTERM and SIGINT: what is saved, what is said, with which exit status."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from synjax import report, train
from synjax.workdir import lock, stopping
from tests import tiny
from tests.processes import environment

# Calls end at 6, 12, 15 and 20, log rows and validations are at 12, 15, 20 and at 12, 20.
SPARSE = {"log_steps": 15, "eval_steps": 12, "checkpoint_steps": 100, "steps_per_call": 6}


@pytest.fixture
def signals(monkeypatch):
  """The handlers of a command; `launch.app` would catch `Stopped`."""
  monkeypatch.setattr(stopping, "_state", stopping._State())
  before = {number: signal.getsignal(number) for number in stopping.SIGNALS}
  for number in stopping.SIGNALS:
    signal.signal(number, stopping._handle)
  with stopping.catching():
    yield
  for number, handler in before.items():
    signal.signal(number, handler)


def next_command(monkeypatch):
  monkeypatch.setattr(stopping, "_state", stopping._State())
  stopping._state.catching = True


def train_tiny(workdir):
  with tiny.registered():
    return train.train_and_evaluate(tiny.get_config("cross", **SPARSE), str(workdir))


def final_state(workdir):
  with tiny.registered():
    run = train.Run(tiny.get_config("cross", **SPARSE), workdir).restore()
    state, selection = run.devices.fetch(run.state), run.selection
    run.checkpointer.close()
  return state.params, state.opt_state, selection


def assert_same(a, b):
  jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
  workdir = tmp_path_factory.mktemp("straight")
  results = train_tiny(workdir)
  return final_state(workdir), results, (workdir / "metrics.jsonl").read_text(), workdir


def signal_in(monkeypatch, method, number):
  """Sends a signal from inside a method of the run, the first time it is called."""
  original, calls = getattr(train.Run, method), []

  def patched(run, *args):
    calls.append(method)
    if len(calls) == 1:
      os.kill(os.getpid(), number)
    return original(run, *args)

  monkeypatch.setattr(train.Run, method, patched)


# One start after another: the method in which a signal arrives, and the step at which the run stops.
STARTS = [
  ("advance", 6, signal.SIGTERM),  # while compiling; between two log rows
  ("evaluate", 12, signal.SIGINT),  # while validating
  ("advance", 15, signal.SIGTERM),
  ("advance", 20, signal.SIGINT),  # in the last step
  ("final_scores", 20, signal.SIGTERM),  # while scoring
]


def test_a_run_stopped_again_and_again_ends_bit_for_bit_as_one_that_was_not(
  straight, tmp_path, monkeypatch, signals
):
  for method, step, number in STARTS:
    next_command(monkeypatch)
    with monkeypatch.context() as patched, pytest.raises(stopping.Stopped) as stopped:
      signal_in(patched, method, number)
      train_tiny(tmp_path)
    place = f"at step {step} of 20"
    if step == 20:
      place = "in the final scoring: step 20 is saved, and the next start scores it"
    assert str(stopped.value) == f"stopped {place}; the same command continues"
    assert stopped.value.status == 128 + number
    assert (tmp_path / "checkpoints" / str(step)).exists()
    assert not (tmp_path / "results.json").exists()
  next_command(monkeypatch)
  results = train_tiny(tmp_path)
  assert results["rows"] == straight[1]["rows"]
  assert (tmp_path / "metrics.jsonl").read_text() == straight[2]
  assert_same(final_state(tmp_path), straight[0])


@pytest.mark.parametrize("kept", [0, 200])
def test_cut_results_of_a_finished_run_are_scored_and_written_again(straight, tmp_path, kept):
  workdir = tmp_path / "run"
  shutil.copytree(straight[3], workdir)
  whole = (workdir / "results.json").read_text()
  (workdir / "results.json").write_text(whole[:kept])
  with pytest.raises(
    ValueError, match=r"results\.json: expected .*run launch.train on this workdir"
  ):
    report.read_run(workdir)
  results = train_tiny(workdir)
  assert results["rows"] == straight[1]["rows"]
  assert json.loads((workdir / "results.json").read_text())["rows"] == straight[1]["rows"]
  assert (workdir / "metrics.jsonl").read_text() == straight[2]


def test_a_second_process_is_refused_before_anything_is_loaded(tmp_path):
  with lock.hold(tmp_path / lock.FILE):
    started = time.monotonic()
    with pytest.raises(lock.InUse, match=rf"a run is in progress: pid {os.getpid()} on host"):
      train_tiny(tmp_path)
    assert time.monotonic() - started < 1
  assert list(tmp_path.iterdir()) == []


PROGRAM = """
import sys, time
from launch import app
def main():
  print("began", flush=True)
  time.sleep(60)
def shielded():
  from synjax.workdir import stopping
  with stopping.deferred(), stopping.doing("compiling"):
    main()
class Slow:
  def __del__(self):  # nothing that is raised here goes anywhere
    main()
def swallowed():
  Slow()
  time.sleep(60)
app.run(globals()[sys.argv.pop()])
"""


def start(*arguments):
  return subprocess.Popen(
    [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
  )


def catches(pid, number):
  """Says whether a process has a handler of a signal."""
  with open(f"/proc/{pid}/status") as file:
    caught = next(line.split()[1] for line in file if line.startswith("SigCgt"))
  return bool(int(caught, 16) >> (number - 1) & 1)


def test_a_command_ends_with_one_line_and_the_status_of_the_signal():
  numbers = {"main": signal.SIGTERM, "swallowed": signal.SIGINT}
  commands = {number: start("-c", PROGRAM, name) for name, number in numbers.items()}
  shielded = start("-c", PROGRAM, "shielded")
  young = start("-m", "launch.benchmark")
  while not catches(young.pid, signal.SIGTERM):  # then it imports jax
    assert young.poll() is None
    time.sleep(0.01)
  young.send_signal(signal.SIGTERM)
  _, said = young.communicate(timeout=60)
  assert (young.returncode, said) == (143, "stopped before anything was begun\n")
  for number, process in commands.items():
    assert process.stdout.readline() == "began\n"
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, said) == (128 + number, "stopped; the same command continues\n")
  assert shielded.stdout.readline() == "began\n"
  for _ in range(2):  # the second ends it at once, whatever it is doing
    assert shielded.poll() is None
    shielded.send_signal(signal.SIGINT)
    time.sleep(2 * stopping._SAME)
  _, said = shielded.communicate(timeout=20)
  assert shielded.returncode == 130
  first, last = said.splitlines()
  assert first == "compiling: stops when that is done; a second signal ends at once"
  assert last.startswith("stopped at once by a second signal")


HOST = """
import sys, time
from synjax import parallel, train
from synjax.workdir import stopping
from tests import tiny
from tests.processes import environment
stopping.install()
parallel.initialize_hosts(sys.argv[2], 2, int(sys.argv[3]))
advance = train.Run.advance
def slow(run):
  time.sleep(0.1)  # the agreement takes a second
  return advance(run)
train.Run.advance = slow
every = {"log_steps": 5, "eval_steps": 1000, "checkpoint_steps": 1000, "total_steps": 1000}
config = tiny.get_config("cross", **every)
config.num_devices, config.steps_per_call = None, 1
with tiny.registered(), stopping.catching():
  try:
    train.train_and_evaluate(config, sys.argv[1])
  except stopping.Stopped as stopped:
    print(stopped, flush=True)
    sys.exit(stopped.status)
"""


def test_two_hosts_stop_after_the_same_step_when_one_gets_a_signal(tmp_path):
  logs = [tmp_path / f"{i}.log" for i in range(2)]
  hosts = []
  for i, log in enumerate(logs):
    with log.open("w") as file:
      command = [sys.executable, "-c", HOST, str(tmp_path / "run"), "localhost:12397", str(i)]
      hosts.append(subprocess.Popen(command, env=environment(2), stdout=file, stderr=file))
  metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 300
  while not (metrics.exists() and metrics.read_text()) and time.monotonic() < deadline:
    assert [host.poll() for host in hosts] == [None, None], [
      log.read_text()[-2000:] for log in logs
    ]
    time.sleep(0.1)
  hosts[1].send_signal(signal.SIGTERM)
  assert [host.wait(timeout=120) for host in hosts] == [143, 143]
  lines = {line for log in logs for line in log.read_text().splitlines() if "stopped" in line}
  (step,) = [p.name for p in (tmp_path / "run" / "checkpoints").iterdir() if p.name.isdigit()]
  assert lines == {f"stopped at step {step} of 1000; the same command continues"}
